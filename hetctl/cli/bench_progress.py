"""The two progress bars of ``hetctl bench``: the whole comparison, and what runs now."""

import time
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from hetctl.bench.events import Advanced, Event, Failed, Measured, Phase
from hetctl.bench.metrics import format_number
from hetctl.bench.results import Results
from hetctl.bench.schedule import Coming, to_come
from hetctl.bench.time_left import time_left_s
from hetctl.units import format_duration

_PHASES: dict[Phase, str] = {
    "server": "starting the server",
    "prepare": "preparing the requests",
    "warm-up": "warming up",
    "load": "sending the load",
    "stop": "stopping the server",
}
_DETAIL_WIDTH = 40


class BenchProgress:
    """Shows the events of a comparison as they come; a context manager.

    Without a terminal there are no bars, but a line when a phase begins and when a run
    ends, so that the log of a CI job shows where the time went.
    """

    def __init__(self, blank: Results, console: Console) -> None:
        self._console = console
        self._to_come = [_kind(coming) for coming in to_come(blank)]
        self._several_points = len(blank.loads) > 1
        self._finished_s: defaultdict[str, list[float]] = defaultdict(list)
        self._run_began = self._phase_began = time.monotonic()
        self._at: Advanced | None = None
        self._done = 0
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[count]}"),
            _Clock(self._clock),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._overall = self._bars.add_task("all runs", total=len(self._to_come), count="")
        self._current = self._bars.add_task("", total=None, count="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case Advanced():
                self._advance(event)
            case Measured(run=run):
                now = time.monotonic()
                self._finished_s[f"{run.configuration} {run.point}"].append(now - self._run_began)
                self._run_began = now
                rate = format_number(run.measurement.output_throughput)
                label = self._label(run.configuration, run.repeat, run.point)
                self._console.print(f"{label}: {rate} output tok/s", highlight=False)
            case Failed(failure=failure):
                label = self._label(failure.configuration, failure.repeat, failure.point)
                self._console.print(
                    f"[yellow]{escape(label)} failed:[/] {escape(failure.reason)}",
                    soft_wrap=True,
                )
        if not isinstance(event, Advanced):
            # A curve that is flat, or a server that does not start, takes runs off the list.
            self._to_come = [_kind(coming) for coming in event.left]
            self._done += 1
        done, total = self._done, self._done + len(self._to_come)
        self._bars.update(self._overall, completed=done, total=total, count=f"{done}/{total}")

    def _label(self, configuration: str, repeat: int, point: str | None) -> str:
        """``cpu #2``, and ``cpu #2 c8`` in a sweep."""
        return f"{configuration} #{repeat}" + (
            f" {point}" if point and self._several_points else ""
        )

    def _advance(self, event: Advanced) -> None:
        before = self._at
        label, phase = (
            self._label(event.configuration, event.repeat, event.point),
            _PHASES[event.phase],
        )
        if event.phase == "server" and (before is None or before.phase != "server"):
            self._run_began = time.monotonic()
        if before is None or _step(before) != _step(event):
            self._phase_began = time.monotonic()
            if not self._console.is_terminal:
                self._console.print(f"{label}: {phase}", highlight=False)
        self._at = event
        detail = f" ({event.detail[:_DETAIL_WIDTH]})" if event.detail else ""
        self._bars.update(
            self._current,
            description=escape(f"{label}: {phase}{detail}"),
            completed=event.done,
            total=event.total or None,
            count=f"{event.done}/{event.total}" if event.total else "",
        )

    def _clock(self, task: Task) -> str:
        """Time left where it can be told, else the time that has passed."""
        now = time.monotonic()
        if task.id == self._overall:
            left_s = time_left_s(self._finished_s, self._to_come, now - self._run_began)
            return "" if left_s is None else f"{format_duration(round(left_s))} left"
        passed_s = now - self._phase_began
        if task.total and task.completed:
            left_s = max(0.0, passed_s * (task.total / task.completed - 1))
            return f"{format_duration(round(left_s))} left"
        return format_duration(round(passed_s))


def _kind(coming: Coming) -> str:
    """What takes about as long each time."""
    return f"{coming.configuration.name} {coming.load.point}"


def _step(at: Advanced) -> tuple[str, int, str, str]:
    return at.configuration, at.repeat, at.point, at.phase


class _Clock(ProgressColumn):
    """A column that asks for its text at every refresh, not only when something happens."""

    def __init__(self, text: Callable[[Task], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text(task), "dim")
