"""What each rank is doing and since when, for the engine to tell a stuck rank from a slow one.

Each rank has one small file in the run's folder, which the engine makes and both map. A rank
writes it when a method begins and ends; that takes two stores, no system call and no lock.

Layout, in 8-byte words::

    0     process id, 0 until the rank's own code runs
    1     monotonic time of the last change, in ns
    2     monotonic time since which it waits for another rank, in ns; 0 while it does not
    3-10  the method, UTF-8 padded with zeros; empty between calls
"""

import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PID, _SINCE, _WAITS_SINCE = 0, 1, 2
_METHOD_START, _METHOD_BYTES = 24, 64
_SIZE = _METHOD_START + _METHOD_BYTES


def _path(folder: str | Path, rank: int) -> Path:
    return Path(folder) / f"activity-{rank}"


def create(folder: str | Path, rank: int) -> None:
    """Make the file of a rank that is about to start."""
    _path(folder, rank).write_bytes(bytes(_SIZE))


@dataclass(frozen=True)
class Doing:
    """One look at a rank."""

    pid: int
    """0 until the rank's own code runs."""
    method: str
    """Empty between calls."""
    since_ns: int
    waits_since_ns: int
    """0 while the rank does not wait for another one."""


class Activity:
    """The file of one rank, mapped."""

    def __init__(self, folder: str | Path, rank: int) -> None:
        descriptor = os.open(_path(folder, rank), os.O_RDWR)
        try:
            view = memoryview(mmap.mmap(descriptor, _SIZE))
        finally:
            os.close(descriptor)
        self._words = view[:_METHOD_START].cast("q")
        self._method = view[_METHOD_START:]

    def read(self) -> Doing:
        """What the rank is doing; from any process."""
        words = self._words
        method = bytes(self._method).rstrip(b"\0").decode(errors="replace")
        return Doing(words[_PID], method, words[_SINCE], words[_WAITS_SINCE])

    def begin(self) -> Self:
        """Note that the rank's own code runs now, in this process."""
        self._words[_SINCE] = time.monotonic_ns()
        self._words[_PID] = os.getpid()
        return self

    def enter(self, method: str) -> bytes:
        """Note that ``method`` begins; returns what :meth:`leave` wants."""
        before = bytes(self._method)
        self._method[:] = method.encode()[:_METHOD_BYTES].ljust(_METHOD_BYTES, b"\0")
        self._words[_SINCE] = time.monotonic_ns()
        return before

    def leave(self, before: bytes) -> None:
        """Note that the method ended, and the one around it, if any, goes on."""
        self._method[:] = before
        self._words[_SINCE] = time.monotonic_ns()

    def wait_begins(self) -> None:
        """Note that the rank waits for another one, and computes nothing itself."""
        self._words[_WAITS_SINCE] = time.monotonic_ns()

    def wait_ends(self) -> None:
        self._words[_WAITS_SINCE] = 0


_own: Activity | None = None


def start_own(folder: str | Path, rank: int) -> None:
    """Begin the record of this process, which is ``rank``."""
    global _own
    _own = Activity(folder, rank).begin()


def own() -> Activity | None:
    """The record of this process; None where it is no rank of an engine."""
    return _own


@contextmanager
def waiting() -> Iterator[None]:
    """Note that this rank waits for another one while the block runs."""
    record = _own
    if record is not None:
        record.wait_begins()
    try:
        yield
    finally:
        if record is not None:
            record.wait_ends()
