"""A lane: what one member of a group publishes for the members of the other device class.

Layout in the shared segment::

    0            head       slots published so far                 (writer)
    64 * (1+m)   tail of m  slots that reader m is done with       (reader m)
    4096         slots      ``slots`` x ``slot_bytes``

Counters only grow and have a cache line each. Every member knows the size of a collective's
tensors, so a lane carries bytes and nothing else.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from vllm_hetero.host_memory import HostMemory, StreamWord
from vllm_hetero.waiting import Waiter

HEADER_BYTES = 4096
_WORD = 8
_LINE = 64
MAX_MEMBERS = HEADER_BYTES // _LINE - 1


def lane_bytes(slots: int, slot_bytes: int) -> int:
    """Size of one lane, in bytes."""
    return HEADER_BYTES + slots * slot_bytes


@dataclass(frozen=True)
class SlotOnGpu:
    """One slot as a kernel uses it: addresses are the GPU's."""

    payload: int
    head: int
    """The writer's counter."""
    tail: int
    """This rank's counter; 0 on the writer's own end."""
    count: int
    """What ``head`` becomes when the payload is there, and ``tail`` when it is read."""


class Lane:
    """This rank's end of one lane.

    Args:
        memory: The segment that holds the lane.
        offset: Of the lane in it, in bytes.
        slots: Number of slots.
        slot_bytes: Size of a slot.
        pids: Process ids of the group's members, as a view of shared memory.
        writer: The member that publishes.
        readers: The members that read.
        me: This rank's member number.
    """

    def __init__(
        self,
        memory: HostMemory,
        offset: int,
        slots: int,
        slot_bytes: int,
        pids: Sequence[int],
        writer: int,
        readers: Iterable[int],
        me: int,
    ) -> None:
        self._memory = memory
        self._slots = slots
        self._slot_bytes = slot_bytes
        self._data = offset + HEADER_BYTES
        self._words = memory.view[offset : offset + HEADER_BYTES].cast("q")
        self._writer = writer
        self._readers = tuple(readers)
        self._waiters = {
            m: Waiter(memory.patience, partial(pids.__getitem__, m), f"rank {m} of this group")
            for m in (writer, *self._readers)
        }
        self._position = 0
        self._offset = offset
        mine = 0 if me == writer else _tail(me)
        self._mine = mine
        self._word = StreamWord(memory, offset + mine * _WORD)
        # A full memory barrier between payload and counter, for weakly ordered CPUs.
        self._barrier = threading.Lock()

    def acquire(self, size: int) -> torch.Tensor:
        """Wait for the next free slot.

        Returns:
            Its first ``size`` bytes, uint8.

        Raises:
            PeerGoneError: a reader ended while we waited.
        """
        needed = self._position + 1 - self._slots
        for reader in self._readers:
            self._wait(_tail(reader), needed, reader)
        return self._slot(size)

    def publish(self) -> None:
        """Let the readers see the slot, once its payload is written.

        On a GPU rank, in the order of the current stream.
        """
        self._advance()

    def next(self, size: int) -> torch.Tensor:
        """Wait for the next published slot.

        Returns:
            Its first ``size`` bytes, uint8; they stay until :meth:`release`.

        Raises:
            PeerGoneError: the writer ended while we waited.
        """
        self._wait(0, self._position + 1, self._writer)
        if not self._memory.on_gpu:
            with self._barrier:
                pass
        return self._slot(size)

    def release(self) -> None:
        """Give the slot back, once its payload is read.

        On a GPU rank, in the order of the current stream.
        """
        self._advance()

    def acquire_on_gpu(self) -> SlotOnGpu:
        """Wait for the next free slot; a kernel on the current stream will publish it.

        Raises:
            PeerGoneError: a reader ended while we waited.
        """
        self.acquire(0)
        return self.next_on_gpu()

    def next_on_gpu(self) -> SlotOnGpu:
        """The next slot, which a kernel on the current stream will wait for and release."""
        assert self._memory.gpu_address is not None
        base = self._memory.gpu_address + self._offset
        at = HEADER_BYTES + self._position % self._slots * self._slot_bytes
        self._position += 1
        tail = base + self._mine * _WORD if self._mine else 0
        return SlotOnGpu(base + at, base, tail, self._position)

    def _slot(self, size: int) -> torch.Tensor:
        start = self._data + self._position % self._slots * self._slot_bytes
        return self._memory.bytes[start : start + size]

    def _advance(self) -> None:
        self._position += 1
        if self._memory.on_gpu:
            self._word.set_in_stream(self._position)
        else:
            with self._barrier:
                self._words[self._mine] = self._position

    def _wait(self, word: int, count: int, member: int) -> None:
        self._waiters[member].until(lambda: self._words[word] >= count)


def _tail(member: int) -> int:
    """Index of a reader's counter among the header's words."""
    return (1 + member) * (_LINE // _WORD)
