"""A hop through pinned shared memory on one host.

A CPU rank reads a message where it lies in the ring and writes one straight into it. A GPU
rank's copy engine moves the payload, and then the ring's counter, in stream order: the
sending thread never waits for the GPU, and the receiving process sees the message the
moment that the copy is done.
"""

import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vllm_hetero.hops import TensorDict, segment
from vllm_hetero.hops.message import (
    CONTINUATION_BYTES,
    DESCRIPTOR_BYTES,
    Layout,
    TensorLayout,
    layout_of,
    overlap,
    read_descriptor,
    tensor_in,
    write_descriptor,
)
from vllm_hetero.hops.receive_buffers import ReceiveBuffers
from vllm_hetero.hops.ring import (
    DATA_OFFSET,
    HEAD_OFFSET,
    TAIL_OFFSET,
    Record,
    Reservation,
    Ring,
)
from vllm_hetero.host_memory import HostMemory, StreamWord

if TYPE_CHECKING:
    from vllm.distributed.parallel_state import Handle

MIN_CAPACITY = 1 << 20
MAX_CAPACITY = 512 << 20
"""Larger messages go in parts, as they do where ``/dev/shm`` is small."""
PART_BYTES = 4 << 20
"""A CPU rank sends to a GPU in parts, so that its writing overlaps with the copy engine."""
TO_GPU_CAPACITY = 8 * PART_BYTES
"""Of the ring for these parts: so few that they stay in the CPU's cache, where writing them and
the copy engine's reading cost no memory bandwidth."""

IN_LINE_BYTES = 1 << 20
"""A GPU rank sends more than this on a stream of its own; for less, waiting for the copy (20 us
at PCIe 5's rate) costs its own work no more than changing streams does."""


def capacity_for(message_bytes: int) -> int:
    """Ring capacity for messages of up to ``message_bytes``, two in flight, in bytes."""
    # Two messages and the filler before a wrap, which is shorter than one.
    wanted = 3 * (message_bytes + 2 * DESCRIPTOR_BYTES)
    capacity = max(MIN_CAPACITY, min(wanted, MAX_CAPACITY))
    return -(-capacity // mmap.PAGESIZE) * mmap.PAGESIZE


def segment_bytes(capacity: int) -> int:
    """Size of the shared memory that holds a ring of ``capacity`` bytes."""
    return DATA_OFFSET + capacity


class ShmSender:
    """The sending end."""

    def __init__(self, mapping: mmap.mmap, device: torch.device, to_gpu: bool = False) -> None:
        self._memory = HostMemory(mapping, device)
        self._device = device
        self.ring = Ring(self._memory.view, self._memory.patience)
        self.ring.attach_sender()
        if device.type == "cuda":
            self._head = StreamWord(self._memory, HEAD_OFFSET)
        self._max_part = PART_BYTES if to_gpu else self.ring.max_record_bytes
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._done: torch.cuda.Event | None = None

    def send(self, tensors: TensorDict) -> "list[Handle]":
        layout = layout_of(tensors)
        parts = [(entry, tensors[entry.name].contiguous()) for entry in layout.tensors]
        if self._stream is None:
            self._write(layout, parts, stream=0)
            return []
        current = torch.cuda.current_stream(self._device)
        if layout.payload_bytes <= IN_LINE_BYTES:
            if self._done is not None:
                current.wait_event(self._done)
                self._done = None
            self._write(layout, parts, current.cuda_stream)
            return []
        self._stream.wait_stream(current)
        self._write(layout, parts, self._stream.cuda_stream)
        self._done = torch.cuda.Event()
        self._done.record(self._stream)
        for _, part in parts:
            part.record_stream(self._stream)
        return [_StreamHandle(self._done, self._device)]

    def _write(
        self, layout: Layout, parts: list[tuple[TensorLayout, torch.Tensor]], stream: int
    ) -> None:
        """Put a message into the ring, on a GPU rank in the order of ``stream``."""
        write = self._memory.write
        for start, reservation, at, size in self._records(layout):
            if size == layout.payload_bytes:
                for entry, part in parts:
                    if entry.size:
                        write(at + entry.offset, part, 0, entry.size, stream)
            else:
                for entry, part in parts:
                    first, length = overlap(entry, start, size)
                    if length > 0:
                        write(at + entry.offset + first - start, part, first, length, stream)
            if self._stream is None:
                self.ring.publish(reservation)
            else:
                self._head.set_in_stream(reservation.head_after, stream)

    def close(self) -> None:
        self._memory.close()

    def _records(self, layout: Layout) -> Iterator[tuple[int, Reservation, int, int]]:
        """Reserve one record after the other.

        Yields:
            Where the record's part of the payload starts, the record, where in the mapping
            that part goes to, and its size.
        """
        start, header = 0, DESCRIPTOR_BYTES
        while True:
            room = min(self._max_part, self.ring.max_record_bytes) - header
            size = min(room, layout.payload_bytes - start)
            reservation = self.ring.reserve(header + size)
            if start == 0:
                write_descriptor(self._memory.view, reservation.offset, layout)
            yield start, reservation, reservation.offset + header, size
            start, header = start + size, CONTINUATION_BYTES
            if start >= layout.payload_bytes:
                return


class _StreamHandle:
    """A send by the copy engine: later work of this stream waits for it, the host does not."""

    def __init__(self, done: torch.cuda.Event, device: torch.device) -> None:
        self._done = done
        self._device = device

    def is_completed(self) -> bool:
        return self._done.query()

    def wait(self) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._done)


class ShmReceiver:
    """The receiving end."""

    def __init__(self, mapping: mmap.mmap, device: torch.device, max_tokens: int) -> None:
        self._memory = HostMemory(mapping, device)
        self._device = device
        self.ring = Ring(self._memory.view, self._memory.patience)
        self.ring.attach_receiver()
        if device.type == "cuda":
            self._tail = StreamWord(self._memory, TAIL_OFFSET)
        self._buffers = ReceiveBuffers(device, max_tokens)
        self.message_bytes = 0
        self._held: Record | None = None
        self._assembly: torch.Tensor | None = None

    def recv(self) -> TensorDict:
        if self._held is not None:
            self.ring.release(self._held)
            self._held = None
        record = self.ring.next()
        layout = read_descriptor(self._memory.view, record.offset)
        self.message_bytes = layout.tensor_bytes
        if self._device.type == "cuda":
            return self._to_gpu(record, layout)
        if record.size - DESCRIPTOR_BYTES >= layout.payload_bytes:
            # The tensors lie in the ring; the next call gives the space back.
            self._held = record
            return self._views(self._memory, record.offset + DESCRIPTOR_BYTES, layout)
        return self._assembled(record, layout)

    def close(self) -> None:
        self._memory.close()

    def _to_gpu(self, record: Record, layout: Layout) -> TensorDict:
        """Queue the copies on the current stream."""
        stream = torch.cuda.current_stream(self._device).cuda_stream
        targets = [
            (entry, self._buffers.room(entry.name, entry.shape, entry.dtype))
            for entry in layout.tensors
        ]
        read = self._memory.read
        for start, at, size, part in self._parts(record, layout):
            for entry, target in targets:
                first, length = overlap(entry, start, size)
                if length > 0:
                    read(at + entry.offset + first - start, target, first, length, stream)
            self._tail.set_in_stream(part.tail_after, stream)
        return {entry.name: target for entry, target in targets}

    def _parts(self, record: Record, layout: Layout) -> Iterator[tuple[int, int, int, Record]]:
        """The records of a message, the first of which is ``record``.

        Yields:
            Where the record's part of the payload starts, where in the mapping it lies, its
            size, and the record.
        """
        start, header = 0, DESCRIPTOR_BYTES
        while True:
            size = min(record.size - header, layout.payload_bytes - start)
            yield start, record.offset + header, size, record
            start, header = start + size, CONTINUATION_BYTES
            if start >= layout.payload_bytes:
                return
            record = self.ring.next()

    def _assembled(self, record: Record, layout: Layout) -> TensorDict:
        """Collect a message that came in several records, releasing each."""
        if self._assembly is None or len(self._assembly) < layout.payload_bytes:
            # Kept for the next message: touching new pages is slow.
            self._assembly = torch.empty(layout.payload_bytes, dtype=torch.uint8)
        for start, at, size, part in self._parts(record, layout):
            self._memory.read(at, self._assembly, start, size, stream=0)
            self.ring.release(part)
        return {entry.name: tensor_in(self._assembly, entry) for entry in layout.tensors}

    @staticmethod
    def _views(memory: HostMemory, at: int, layout: Layout) -> TensorDict:
        return {
            entry.name: memory.tensor(at + entry.offset, entry.dtype, entry.shape)
            for entry in layout.tensors
        }


def create_segment(message_bytes: int, to_gpu: bool = False) -> tuple[str, mmap.mmap]:
    """Shared memory for a ring that suits messages of up to ``message_bytes``.

    When ``/dev/shm`` is short, a smaller ring serves: messages then go in parts.

    Raises:
        vllm_hetero.hops.segment.SegmentError: not even the smallest ring fits.
    """
    capacity = capacity_for(message_bytes)
    if to_gpu:
        capacity = min(capacity, TO_GPU_CAPACITY)
    while capacity > MIN_CAPACITY and segment_bytes(capacity) > segment.free_bytes() // 2:
        capacity = max(MIN_CAPACITY, capacity // 2 // mmap.PAGESIZE * mmap.PAGESIZE)
    return segment.create(segment_bytes(capacity))
