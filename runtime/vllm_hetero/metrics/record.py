"""The file in which one rank counts.

As in :mod:`vllm_hetero.activity`, the engine makes the file and the rank maps it; counting is a
store to memory, without a system call or a lock. Readers read the file: were it mapped and cut
short, looking at it would end their process.

Layout: one 8-byte float per :class:`Word`, NaN while there is nothing to tell.
"""

import math
import mmap
import os
import struct
from enum import IntEnum, auto, unique
from pathlib import Path

from vllm_hetero.metrics.process import started_ticks


@unique
class Word(IntEnum):
    """What a rank tells, by its place in the file. Times are in seconds."""

    PID = 0
    STARTED_TICKS = auto()
    """When the process started, as the kernel counts: process ids are used again."""
    CALL_BEGUN = auto()
    """When the call of a step began that is not over, on the monotonic clock; 0 between calls."""
    RECEIVE_BEGUN = auto()
    """The same of waiting for a message of a hop."""
    STEPS = auto()
    TOKENS = auto()
    CALL_SECONDS = auto()
    LAYERS_SECONDS = auto()
    HEAD_SECONDS = auto()
    WEIGHT_READ_BYTES = auto()
    RECEIVE_SECONDS = auto()
    SEND_SECONDS = auto()
    RECEIVED_BYTES = auto()
    SENT_BYTES = auto()
    LAST_TOKENS = auto()
    LAST_LAYERS_SECONDS = auto()
    LAST_HEAD_SECONDS = auto()
    LAST_WEIGHT_READ_BYTES_PER_SECOND = auto()
    WEIGHT_BYTES = auto()
    KV_CACHE_BYTES = auto()
    GPU_ALLOCATED_BYTES = auto()
    GPU_RESERVED_BYTES = auto()
    GPU_USED_BYTES = auto()
    GPU_TOTAL_BYTES = auto()


_LAYOUT = struct.Struct(f"={len(Word)}d")


def _path(folder: str | Path, rank: int) -> Path:
    return Path(folder) / f"rank-{rank}"


def create(folder: str | Path, rank: int) -> None:
    """Make the file of a rank that is about to start, for this user only.

    It takes the place of what an earlier engine left; a process that still maps that keeps it.
    """
    path = _path(folder, rank)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, _LAYOUT.pack(*[math.nan] * len(Word)))
    finally:
        os.close(descriptor)


def read(folder: str | Path, rank: int) -> dict[Word, float]:
    """What a rank has to tell; nothing where its file is missing or cut short."""
    try:
        values = _LAYOUT.unpack(_path(folder, rank).read_bytes())
    except (OSError, struct.error):
        return {}
    return {word: value for word, value in zip(Word, values, strict=True) if not math.isnan(value)}


class RankRecord:
    """The file of this process's rank, mapped."""

    def __init__(self, folder: str | Path, rank: int) -> None:
        """
        Raises:
            OSError: nobody made the file.
        """
        descriptor = os.open(_path(folder, rank), os.O_RDWR)
        try:
            self._words = memoryview(mmap.mmap(descriptor, _LAYOUT.size)).cast("d")
        finally:
            os.close(descriptor)
        self.set(Word.STARTED_TICKS, started_ticks(os.getpid()) or math.nan)
        self.set(Word.PID, os.getpid())

    def set(self, word: Word, value: float) -> None:
        self._words[word] = value

    def add(self, word: Word, amount: float) -> None:
        """Count; the word must have been set to a number before."""
        self._words[word] += amount


_own: RankRecord | None = None


def start_own(folder: str | Path, rank: int) -> None:
    """Begin the record of this process, which is ``rank``."""
    global _own
    _own = RankRecord(folder, rank)


def own() -> RankRecord | None:
    """The record of this process; None where it is no rank of an engine."""
    return _own
