"""How ``hetctl serve`` tells a person how its server is doing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hetctl.cli.activity import activity
from hetctl.cli.console import err, out, warn

if TYPE_CHECKING:
    from pathlib import Path

    from hetctl.errors import HetctlError, LaunchError
    from hetctl.launch.server import Server
    from hetctl.plan import Plan


class TerminalVoice:
    """Results to stdout, everything else to stderr; a :class:`~hetctl.launch.service.Voice`."""

    def plan(self, plan: "Plan") -> None:
        """What will run."""
        from hetctl.cli.plan_view import plan_view

        err.print(plan_view(plan))

    def warn(self, message: str) -> None:
        """Something that may be wrong."""
        warn(message)

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str], None]]:
        """While the machine is made ready; yields what is told of each step."""
        with activity() as say:
            yield say

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        with activity("starting vLLM") as say:
            yield lambda phase: say(f"starting vLLM: {phase}")

    def log_at(self, path: "Path") -> None:
        """Where the output goes."""
        err.print(f"Log: {path}", markup=False, soft_wrap=True)

    def ready(self, server: "Server") -> None:
        out.print(
            f"Ready: {server.base_url}/v1  model {server.command.model_name}  (Ctrl-C ends it)",
            markup=False,
            soft_wrap=True,
        )

    def failed(self, error: "LaunchError", pause_s: float) -> None:
        warn(f"{error} Starting it again in {pause_s:.0f} s.")

    def draining(self, seconds: int) -> None:
        err.print(
            f"Ending: running requests have up to {seconds} s to be answered; a second Ctrl-C "
            "ends them now.",
            markup=False,
            soft_wrap=True,
        )

    def ended(self, error: "HetctlError | None") -> None:
        """It will not be started again. Whoever ran it sees that, and the error, last."""
