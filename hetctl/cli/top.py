"""``hetctl top``: what a running server does, live."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hetctl.cli.screen import Screen
    from hetctl.top.watch import Watch


def top(
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
            help="The server, such as http://127.0.0.1:8000; without it, the one that "
            "`hetctl serve` runs here.",
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            min=0.1, max=3600, metavar="SECONDS", help="Time between two looks at the server."
        ),
    ] = 1.0,
    once: Annotated[
        bool,
        typer.Option("--once", help="Look twice, print what was seen, and end; so do pipes."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The same as a document, and nothing else.")
    ] = False,
) -> None:
    """Show what a running server and each of its ranks do, until q, Esc or Ctrl-C.

    A server without CPU ranks shows vLLM's own figures only. Where nothing answers, it waits;
    with --once it ends with 1.
    """
    from contextlib import closing, suppress

    from hetctl.cli.console import out
    from hetctl.cli.end_signals import EndRequested, EndSignals
    from hetctl.launch.running import running_servers
    from hetctl.top.choice import chosen
    from hetctl.top.watch import Watch

    where, record = chosen(url, running_servers())
    live = out.is_terminal and not out.is_dumb_terminal and not (once or as_json)
    signals = EndSignals()
    with closing(Watch(where, record)) as watch:
        if not live:
            _once(watch, interval, as_json)
            return
        with signals.handled(), suppress(EndRequested), signals.waiting():
            _live(watch, interval)


def _once(watch: "Watch", interval_s: float, as_json: bool) -> None:
    watch.look()
    time.sleep(interval_s)
    frame = watch.look()
    if as_json:
        typer.echo(frame.to_json(), nl=False)
    else:
        from hetctl.cli.console import out
        from hetctl.cli.top_view import FrameView

        out.print(FrameView(frame))


def _live(watch: "Watch", interval_s: float) -> None:
    from hetctl.cli.console import out
    from hetctl.cli.screen import screen, suspend

    while True:
        with screen(out) as terminal:
            if _shown_until_quit(watch, interval_s, terminal):
                return
        suspend()


def _shown_until_quit(watch: "Watch", interval_s: float, terminal: "Screen") -> bool:
    """Whether the user quit; else the user wants the shell for a while."""
    from rich.console import Group
    from rich.text import Text

    from hetctl.cli.screen import Event

    view = _Looks(watch)
    while True:
        next_s = time.monotonic() + interval_s
        shown = Group(view.next(), Text(), Text("q quits", style="dim"))
        terminal.show(shown)
        while (event := terminal.wait(next_s - time.monotonic())) is Event.RESIZE:
            terminal.show(shown)
        if event is not Event.TIME:
            return event is Event.QUIT


class _Looks:
    """What to show at each look: the server, or that it does not answer."""

    def __init__(self, watch: "Watch") -> None:
        self._watch = watch
        self._gone_since_s: float | None = None

    def next(self) -> "RenderableType":
        from hetctl.cli.top_view import FrameView, waiting_view
        from hetctl.top.page import NoAnswerError

        try:
            frame = self._watch.look()
        except NoAnswerError as error:
            now_s = time.monotonic()
            self._gone_since_s = self._gone_since_s or now_s
            return waiting_view(str(error), now_s - self._gone_since_s)
        self._gone_since_s = None
        return FrameView(frame)
