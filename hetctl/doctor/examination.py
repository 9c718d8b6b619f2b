"""Runs checks, all at once, each with its own time limit."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Finding, Outcome, failed
from hetctl.errors import HetctlError

_SILENT_S = 0.2
"""A wait shorter than this is not worth a word."""


def examine(
    checks: Sequence[Check],
    surroundings: Surroundings,
    progress: Callable[[str], None] = lambda doing: None,
) -> tuple[Finding, ...]:
    """The findings of all checks, in their order.

    Each runs in a thread of its own: some wait for a network or a driver, and one that never
    answers must not keep the others or the end of the program waiting.
    """
    running = [_Running(check, surroundings) for check in checks]
    return tuple(check.finding(progress) for check in running)


class _Running:
    """A check under way."""

    def __init__(self, check: Check, surroundings: Surroundings) -> None:
        self._check = check
        self._surroundings = surroundings
        self._started = time.monotonic()
        self._answer: queue.Queue[tuple[Outcome, float]] = queue.Queue()
        threading.Thread(target=self._run, name=f"doctor: {check.name}", daemon=True).start()

    def _run(self) -> None:
        outcome = _outcome(self._check, self._surroundings)
        self._answer.put((outcome, time.monotonic() - self._started))

    def finding(self, progress: Callable[[str], None]) -> Finding:
        """The answer, or that there was none in time."""
        check = self._check
        try:
            outcome, seconds = self._within(_SILENT_S) or self._told(progress)
        except queue.Empty:
            seconds = check.timeout_s
            outcome = check.late or failed(
                f"no answer from {check.waits_for} in {seconds:g} s",
                "Run hetctl doctor again; if it stays so, report it with --bundle.",
            )
        return Finding(group=check.group, name=check.name, seconds=seconds, **dict(outcome))

    def _within(self, seconds: float) -> tuple[Outcome, float] | None:
        try:
            return self._answer.get(timeout=min(seconds, self._left_s()))
        except queue.Empty:
            return None

    def _told(self, progress: Callable[[str], None]) -> tuple[Outcome, float]:
        """The answer, after having said what is waited for.

        Raises:
            queue.Empty: none came in time.
        """
        if self._left_s():
            progress(f"waiting for {self._check.waits_for}")
        return self._answer.get(timeout=self._left_s())

    def _left_s(self) -> float:
        return max(0.0, self._started + self._check.timeout_s - time.monotonic())


def _outcome(check: Check, surroundings: Surroundings) -> Outcome:
    try:
        return check.run(surroundings)
    except HetctlError as error:
        return failed(str(error), "Correct what the message names.")
    except Exception as error:
        # A doctor that falls ill must still report on the rest.
        return failed(
            f"the check itself failed: {type(error).__name__}: {error}",
            "This is a bug of hetctl; report it with the file of hetctl doctor --bundle.",
        )
