"""``hetctl serve --log-json``: how the server is doing, as one JSON object per line."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from hetctl.launch.output import Record

if TYPE_CHECKING:
    from pathlib import Path

    from hetctl.errors import HetctlError, LaunchError
    from hetctl.launch.output.record import Level
    from hetctl.launch.server import Server
    from hetctl.plan import Plan


class RecordVoice:
    """Says on stdout what :class:`~hetctl.cli.serve_voice.TerminalVoice` tells a person."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()

    def plan(self, plan: "Plan") -> None:
        self._say(
            "plan",
            f"Runs {plan.model} by {plan.strategy} on {', '.join(plan.devices)}",
            model=plan.model,
            strategy=plan.strategy,
            devices=",".join(plan.devices),
            split=",".join(map(str, plan.split)),
        )

    def warn(self, message: str) -> None:
        self._say("warning", message, "WARNING")

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str], None]]:
        yield self._once_each("preparing", "{}")

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        yield self._once_each("starting", "starting vLLM: {}")

    def log_at(self, path: "Path") -> None:
        self._say("log", f"Log: {path}", path=str(path))

    def ready(self, server: "Server") -> None:
        self._say(
            "ready",
            f"Ready: {server.base_url}/v1",
            url=f"{server.base_url}/v1",
            model=server.command.model_name,
        )

    def failed(self, error: "LaunchError", pause_s: float) -> None:
        self._say("restart", str(error), "ERROR", pause_s=pause_s)

    def draining(self, seconds: int) -> None:
        self._say("draining", "The end was asked for.", drain_timeout_s=seconds)

    def ended(self, error: "HetctlError | None") -> None:
        """It will not be started again: because that was asked for, or because of an error."""
        if error is None:
            self._say("ended", "Ended as asked.")
        else:
            self._say("ended", str(error), "CRITICAL")

    def record(self, record: Record) -> None:
        """What a process of the server says."""
        # A reader that went away must not end the server.
        with self._one_at_a_time, suppress(OSError):
            sys.stdout.write(record.to_json() + "\n")
            sys.stdout.flush()

    def _say(self, event: str, message: str, level: "Level" = "INFO", **fields: object) -> None:
        self.record(Record.of_event(event, message, level=level, **fields))

    def _once_each(self, event: str, form: str) -> Callable[[str], None]:
        last = ""

        def say(phase: str) -> None:
            nonlocal last
            if phase != last:
                last = phase
                self._say(event, form.format(phase), phase=phase)

        return say
