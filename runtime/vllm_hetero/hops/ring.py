"""A lock-free ring of bytes between one sending and one receiving process.

Layout of the shared mapping::

    0      head   bytes published so far       (written by the sender's side only)
    64     tail   bytes released so far        (written by the receiver's side only)
    128    process id of the sender
    192    process id of the receiver
    4096   data   ``capacity`` bytes

``head`` and ``tail`` only grow; a position in the data is a count modulo the capacity.
Records are contiguous: one that does not fit before the end is preceded by a filler that
covers the rest. Each counter has a cache line of its own. On a GPU rank the counters are
written by the copy engine, in stream order after the payload, so this module lets the
owner of the ring choose who writes them (:attr:`Reservation.head_after`).
"""

import os
import struct
import threading
from dataclasses import dataclass

from vllm_hetero.waiting import CPU_RANK, Patience, Waiter

DATA_OFFSET = 4096
ALIGNMENT = 64
"""Of records, so that any dtype can be viewed in place and copies start on a cache line."""

_HEAD, _TAIL, _SENDER_PID, _RECEIVER_PID = 0, 8, 16, 24
HEAD_OFFSET, TAIL_OFFSET = _HEAD * 8, _TAIL * 8
_SIZE = struct.Struct("<q")
_FILLER = 1 << 62


@dataclass(frozen=True)
class Reservation:
    """Space for one record."""

    offset: int
    """Of the record in the mapping, in bytes."""
    size: int
    head_after: int
    """Value of ``head`` that publishes the record."""


@dataclass(frozen=True)
class Record:
    """One published record."""

    offset: int
    """Of the record in the mapping, in bytes."""
    size: int
    tail_after: int
    """Value of ``tail`` that releases the record."""


def aligned(size: int) -> int:
    """``size`` rounded up to the alignment of records."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Ring:
    """One end of the ring, over a mapping that both processes share.

    A record begins with its own size, which the ring writes; the rest is the caller's.
    """

    SIZE_BYTES = _SIZE.size

    def __init__(self, mapping: memoryview, patience: Patience = CPU_RANK) -> None:
        self._bytes = mapping
        self._words = words = mapping[:DATA_OFFSET].cast("q")
        self._sender = Waiter(patience, lambda: words[_SENDER_PID], "the sender of this hop")
        self._receiver = Waiter(patience, lambda: words[_RECEIVER_PID], "the receiver of this hop")
        self.capacity = len(mapping) - DATA_OFFSET
        self._position = 0
        # Taking and leaving a lock is a full memory barrier, which weakly ordered CPUs
        # need between payload and counter; on x86 it costs 50 ns.
        self._barrier = threading.Lock()

    @property
    def max_record_bytes(self) -> int:
        """Largest record: half the ring, so that sender and receiver can overlap."""
        return self.capacity // 2

    def attach_sender(self) -> None:
        self._words[_SENDER_PID] = os.getpid()

    def attach_receiver(self) -> None:
        self._words[_RECEIVER_PID] = os.getpid()

    def reserve(self, size: int) -> Reservation:
        """Wait for room for a record of ``size`` bytes, its size field included.

        Raises:
            ValueError: the record exceeds :attr:`max_record_bytes`.
            PeerGoneError: the receiver ended while we waited.
        """
        size = aligned(size)
        if size > self.max_record_bytes:
            raise ValueError(f"a record of {size} bytes exceeds {self.max_record_bytes}")
        start = self._position % self.capacity
        filler = self.capacity - start if start + size > self.capacity else 0
        needed = self._position + filler + size - self.capacity
        self._receiver.until(lambda: self._words[_TAIL] >= needed)
        if filler:
            _SIZE.pack_into(self._bytes, DATA_OFFSET + start, _FILLER | filler)
            start = 0
        self._position += filler + size
        _SIZE.pack_into(self._bytes, DATA_OFFSET + start, size)
        return Reservation(DATA_OFFSET + start, size, self._position)

    def publish(self, reservation: Reservation) -> None:
        """Let the receiver see the record, from the CPU."""
        with self._barrier:
            self._words[_HEAD] = reservation.head_after

    def next(self) -> Record:
        """Wait for the next record; it stays in place until it is released.

        Raises:
            PeerGoneError: the sender ended and left no further record.
        """
        while True:
            self._sender.until(lambda: self._words[_HEAD] > self._position)
            with self._barrier:
                offset = DATA_OFFSET + self._position % self.capacity
            (size,) = _SIZE.unpack_from(self._bytes, offset)
            if size & _FILLER:
                self._position += size & ~_FILLER
                continue
            self._position += size
            return Record(offset, size, self._position)

    def release(self, record: Record) -> None:
        """Give the record's space back, from the CPU."""
        with self._barrier:
            self._words[_TAIL] = record.tail_after
