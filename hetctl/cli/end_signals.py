"""Signals that ask a command for its end, while it runs servers."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class EndRequested(KeyboardInterrupt):
    """A signal asked for the end."""


class EndSignals:
    """SIGINT, SIGTERM and SIGHUP. They interrupt waiting, and never starting or cleaning up.

    A server that is interrupted while it starts would be nobody's to stop, and one that is
    interrupted while it stops would leave processes behind.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._waiting = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signals over while the block runs."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let a signal end the block. What cleans up after one is not interrupted again.

        Raises:
            EndRequested: a signal came, now or before.
        """
        try:
            self._waiting = True
            if self._seen:
                raise EndRequested
            yield
        finally:
            self._waiting = False

    def again(self) -> bool:
        """Whether the end was asked for more than once: somebody is in a hurry."""
        return self._seen > 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._seen += 1
        if self._waiting:
            self._waiting = False
            raise EndRequested
