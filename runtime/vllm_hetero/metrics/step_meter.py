"""Counts the steps of this process's rank."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vllm_hetero.metrics.record import RankRecord, Word

if TYPE_CHECKING:
    import torch

    from vllm_hetero.stage_times import StageTime

_MEMORY_EVERY_S = 1.0
"""Asking a GPU for its memory takes as long as some hundred of the other figures."""

_COUNTED = (
    Word.CALL_BEGUN,
    Word.STEPS,
    Word.TOKENS,
    Word.CALL_SECONDS,
    Word.LAYERS_SECONDS,
    Word.HEAD_SECONDS,
)


class StepMeter:
    """Writes what each step was into the rank's record.

    Args:
        record: Of this process.
        layer_read_bytes: What the layers read of their weights in each step; None if that is
            not known.
        device: Of this rank.
    """

    def __init__(
        self, record: RankRecord, layer_read_bytes: int | None, device: "torch.device"
    ) -> None:
        self._record = record
        self._read_bytes = layer_read_bytes
        self._memory = GpuMemory(record, device) if device.type == "cuda" else None
        for word in _COUNTED:
            record.set(word, 0)
        if layer_read_bytes is not None:
            record.set(Word.WEIGHT_READ_BYTES, 0)

    def begins(self) -> float:
        """A call of a step begins; returns what :meth:`ends` wants."""
        now_s = time.monotonic()
        self._record.set(Word.CALL_BEGUN, now_s)
        return now_s

    def ends(self, begun_s: float, tokens: int = 0) -> None:
        """The call is over.

        Args:
            begun_s: What :meth:`begins` returned.
            tokens: Rows of the step, if this was the call in which the layers ran.
        """
        record = self._record
        record.add(Word.CALL_SECONDS, time.monotonic() - begun_s)
        record.set(Word.CALL_BEGUN, 0)
        if tokens:
            record.add(Word.STEPS, 1)
            record.add(Word.TOKENS, tokens)
            record.set(Word.LAST_TOKENS, tokens)
        elif self._memory is not None:
            # Sampling has waited for the GPU: it is not kept from work that could be queued.
            self._memory.look()

    def computed(self, step: "StageTime") -> None:
        """What a step took is known; on a GPU that may be after its calls."""
        record = self._record
        record.add(Word.LAYERS_SECONDS, step.seconds)
        record.add(Word.HEAD_SECONDS, step.head_seconds)
        record.set(Word.LAST_LAYERS_SECONDS, step.seconds)
        record.set(Word.LAST_HEAD_SECONDS, step.head_seconds)
        if self._read_bytes is not None:
            record.add(Word.WEIGHT_READ_BYTES, self._read_bytes)
            rate = self._read_bytes / step.seconds if step.seconds else 0.0
            record.set(Word.LAST_WEIGHT_READ_BYTES_PER_SECOND, rate)


class GpuMemory:
    """Notes the memory of a GPU rank now and then."""

    def __init__(
        self,
        record: RankRecord,
        device: "torch.device",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._device = device
        self._clock = clock
        self._next_s = 0.0

    def look(self) -> None:
        """Note it, unless that was done within the last second."""
        now = self._clock()
        if now < self._next_s:
            return
        self._next_s = now + _MEMORY_EVERY_S
        import torch

        stats = torch.cuda.memory_stats(self._device)
        free, total = torch.cuda.mem_get_info(self._device)
        record = self._record
        record.set(Word.GPU_ALLOCATED_BYTES, stats["allocated_bytes.all.current"])
        record.set(Word.GPU_RESERVED_BYTES, stats["reserved_bytes.all.current"])
        record.set(Word.GPU_USED_BYTES, total - free)
        record.set(Word.GPU_TOTAL_BYTES, total)
