"""The file tree that a probe reads: ``/`` on a real machine, a recorded tree in tests."""

import os
from pathlib import Path


class Files:
    """Reads ``/proc`` and ``/sys`` under a root.

    A file that is missing, or that the kernel refuses to read, is a fact like any other:
    every method answers None or nothing for it and raises no error.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """The file's text without surrounding white space."""
        try:
            return self._at(path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def binary(self, path: str) -> bytes | None:
        """The file's bytes."""
        try:
            return self._at(path).read_bytes()
        except OSError:
            return None

    def integer(self, path: str) -> int | None:
        """The file's text as a decimal number."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def names(self, path: str) -> tuple[str, ...]:
        """What a folder holds, sorted."""
        try:
            return tuple(sorted(entry.name for entry in self._at(path).iterdir()))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        try:
            return self._at(path).exists()
        except OSError:
            return False

    def free_bytes(self, path: str) -> int | None:
        """What an unprivileged process may still write to the file system at ``path``."""
        try:
            status = os.statvfs(self._at(path))
        except OSError:
            return None
        return status.f_bavail * status.f_frsize
