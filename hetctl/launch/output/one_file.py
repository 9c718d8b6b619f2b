"""All that a server says in one file, as it comes."""

from pathlib import Path
from typing import BinaryIO

from hetctl.launch.output.output import CLOSE_S, DRAIN_S
from hetctl.launch.private_file import open_private


class OneFile:
    """A file that the server writes itself and that each start begins anew.

    It grows without limit, nothing is left out of it, and nobody reads along.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def open(self) -> int:
        self.started()
        self._file = open_private(self.path)
        return self._file.fileno()

    def started(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def drained(self, timeout_s: float = DRAIN_S) -> bool:
        """True: what a process has written is in the file."""
        return True

    def close(self, timeout_s: float = CLOSE_S) -> None:
        self.started()
