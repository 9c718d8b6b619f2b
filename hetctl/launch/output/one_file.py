"""All that a server says in one file, as it comes."""

import os
from pathlib import Path

from hetctl.launch.output.output import CLOSE_S, DRAIN_S

ONLY_FOR_THE_USER = 0o600
"""Logs may quote prompts."""


class OneFile:
    """A file that the server writes itself and that each start begins anew.

    It grows without limit, nothing is left out of it, and nobody reads along.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def open(self) -> int:
        self.started()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, ONLY_FOR_THE_USER)
        return self._descriptor

    def started(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def drained(self, timeout_s: float = DRAIN_S) -> bool:
        """True: what a process has written is in the file."""
        return True

    def close(self, timeout_s: float = CLOSE_S) -> None:
        self.started()
