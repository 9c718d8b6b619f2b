"""Finds the one sentence that says which rank ended the engine, and why."""

import multiprocessing.connection
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from signal import Signals

from vllm_hetero import remedy, shared_memory
from vllm_hetero.failure import FailureBoard
from vllm_hetero.kernel_oom import OomKills
from vllm_hetero.log import get_logger
from vllm_hetero.rank_map import RankMap

logger = get_logger(__name__)

# A rank that ran into this can only die of a shared memory that filled up.
_NEARLY_FULL_BYTES = 1 << 20


class Causes:
    """What is known of the failure; the first cause that is found stays."""

    def __init__(self, ranks: RankMap, board: FailureBoard) -> None:
        self._ranks = ranks
        self._board = board
        self._oom_kills = OomKills()
        self._found: str | None = None

    def first(self) -> str | None:
        """The sentence, or None while no rank has failed."""
        return self._found or self._board.first()

    def say(self, cause: str) -> None:
        """Somebody knows the cause."""
        if self._found is None:
            self._found = cause
            logger.error("%s", cause)

    def look_at(self, processes: Sequence[BaseProcess], wait_s: float) -> None:
        """Find the cause by the ranks' words and by how their processes ended.

        A rank that was killed leaves no words, and what its peers say then ("the other
        end is gone") is a consequence.

        Args:
            wait_s: Longest wait for an end. During the start, a broken pipe tells of a death a
                little before the sentinel does; the exit code comes later still.
        """
        ended = multiprocessing.connection.wait([p.sentinel for p in processes], wait_s)
        dead = [process for process in processes if process.sentinel in ended]
        for process in dead:
            process.join(timeout=2.0)
        words = self._board.first()
        oom = bool(self._oom_kills.since())
        for process in dead:
            code = process.exitcode
            if code is not None and code < 0:
                self.say(f"{self._name(process)} was killed by {_signal(Signals(-code), oom)}")
        if words is not None:
            self.say(words)
        for process in dead:
            self.say(
                f"{self._name(process)} ended by itself, with exit code {process.exitcode}; "
                f"{remedy.BROKEN}"
            )

    def _name(self, process: BaseProcess) -> str:
        rank = int(process.name.rpartition("-")[2])
        return f"Rank {rank} ({self._ranks.ranks[rank].device})"


def _signal(number: Signals, oom: bool) -> str:
    if number == Signals.SIGKILL and oom:
        return (
            f"{number.name}, most likely by the kernel's out-of-memory killer, which was at work "
            f"since the start; {remedy.MEMORY}"
        )
    if number == Signals.SIGKILL:
        return f"{number.name}: by someone, or by the kernel; {remedy.KILLED}"
    if number == Signals.SIGBUS and shared_memory.free_bytes() < _NEARLY_FULL_BYTES:
        return f"{number.name}: {shared_memory.FOLDER} is full; {remedy.FULL_SHARED_MEMORY}"
    return f"{number.name}; {remedy.REPORT}"
