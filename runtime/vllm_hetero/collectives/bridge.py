"""The algorithms by which GPU and CPU members of a group exchange tensors.

All-reduce: each class sums among its members; one leader per class publishes its sum; every
member adds the other class's sum to its own. Both classes add the same two numbers, so all
members end with the same bits, and nothing travels back.

All-gather: each member publishes its part, and reads the parts of the other class.

Tensors go through slots of a fixed size, two published ahead of the one being read, so that
the two directions and the addition overlap. What fits one slot, as decoding's tensors do, a
GPU sends, awaits and adds in one kernel (:mod:`~vllm_hetero.collectives.exchange`).
"""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from vllm_hetero.collectives.exchange import Exchange
from vllm_hetero.collectives.lane import MAX_MEMBERS, Lane, lane_bytes
from vllm_hetero.host_memory import HostMemory

SLOTS = 4
SLOT_BYTES = 2 << 20
_AHEAD = 2
"""Slots that a member publishes before it reads the first; less than ``SLOTS``."""
_PIDS_BYTES = 4096


class ClassCommunicator(Protocol):
    """Collectives among the members of one device class."""

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum; may be ``tensor`` itself, changed in place."""

    def all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        """All members' tensors, concatenated along ``dim``."""

    def broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        """``tensor`` of class member ``src``, in place."""


def bridge_bytes(members: int) -> int:
    """Size of the segment that connects ``members`` ranks, in bytes."""
    return _PIDS_BYTES + members * lane_bytes(SLOTS, SLOT_BYTES)


class Bridge:
    """One member's end.

    Args:
        mapping: The shared segment, :func:`bridge_bytes` long, zeros at first.
        on_gpu: Which members have a GPU, by member number.
        me: This rank's member number.
        pid: This process's id, for members that wait for it.
        device: This rank's device.
        peers: Collectives among this rank's class; None when it is alone in it.

    Raises:
        ValueError: more members than a lane has counters for.
    """

    def __init__(
        self,
        mapping: mmap.mmap,
        on_gpu: Sequence[bool],
        me: int,
        pid: int,
        device: torch.device,
        peers: ClassCommunicator | None,
    ) -> None:
        members = range(len(on_gpu))
        if len(on_gpu) > MAX_MEMBERS:
            raise ValueError(f"{len(on_gpu)} ranks in one group, at most {MAX_MEMBERS} can mix")
        self._memory = memory = HostMemory(mapping, device)
        self._me = me
        self._members = len(on_gpu)
        self._peers = peers
        self._mine = [m for m in members if on_gpu[m] == on_gpu[me]]
        self._others = [m for m in members if on_gpu[m] != on_gpu[me]]
        pids = memory.view[:_PIDS_BYTES].cast("q")
        pids[me] = pid
        size = lane_bytes(SLOTS, SLOT_BYTES)
        self._lanes = {
            m: Lane(
                memory,
                _PIDS_BYTES + m * size,
                SLOTS,
                SLOT_BYTES,
                pids,
                writer=m,
                readers=[r for r in members if on_gpu[r] != on_gpu[m]],
                me=me,
            )
            for m in [me, *self._others]
        }
        self._sending = torch.cuda.Stream(device) if memory.on_gpu else None
        self._kernel = Exchange(device) if memory.gpu_address is not None else None
        self._rehearsing = False

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Leave the other class out while the block runs.

        Profiling and warming up differ between device classes, in number and in size of
        their passes: results do not matter there, and a peer may not be coming.
        """
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all members, a new tensor; the same bits on each."""
        own = tensor.contiguous()
        if self._peers is not None and own.numel():
            # On CPUs the class's sum is made in place.
            in_place = own is tensor and not self._memory.on_gpu
            own = self._peers.all_reduce(own.clone() if in_place else own)
        result = torch.empty_like(own)
        if self._rehearsing:
            return result.copy_(own)
        leads = self._me == self._mine[0]
        if self._kernel is not None and self._kernel.takes(own, SLOT_BYTES):
            self._kernel.all_reduce(
                own,
                result,
                self._lanes[self._me].acquire_on_gpu() if leads else None,
                self._lanes[self._others[0]].next_on_gpu(),
            )
            return result
        flat, total = own.view(-1), result.view(-1)

        def add(start: int, slot: torch.Tensor) -> None:
            first = start // own.element_size()
            theirs = slot.view(own.dtype)
            part = flat[first : first + len(theirs)]
            if self._memory.on_gpu:
                total[first : first + len(theirs)].copy_(theirs, non_blocking=True).add_(part)
            else:
                torch.add(part, theirs, out=total[first : first + len(theirs)])

        self._exchange(
            _bytes(flat) if leads else None,
            {self._others[0]: add},
            size=flat.numel() * own.element_size(),
        )
        return result

    def all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        """All members' tensors, concatenated along ``dim`` in the group's order."""
        if dim < 0:
            dim += tensor.dim()
        own = tensor.contiguous()
        parts = torch.empty((self._members, *own.shape), dtype=own.dtype, device=own.device)
        if self._peers is None:
            parts[self._me].copy_(own)
        elif own.numel():
            together = self._peers.all_gather(own.unsqueeze(0), 0)
            for position, member in enumerate(self._mine):
                parts[member].copy_(together[position])
        if self._rehearsing:
            for member in self._others:
                parts[member].zero_()
        else:
            self._exchange(
                _bytes(own.view(-1)),
                {m: _Into(_bytes(parts[m].view(-1))) for m in self._others},
                size=own.numel() * own.element_size(),
            )
        shape = list(own.shape)
        shape[dim] *= self._members
        return parts.movedim(0, dim).reshape(shape)

    def broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        """Make ``tensor`` what it is on member ``src``, in place."""
        if not tensor.is_contiguous():
            return tensor.copy_(self.broadcast(tensor.contiguous(), src))
        if src in self._mine and self._peers is not None and tensor.numel():
            self._peers.broadcast(tensor, self._mine.index(src))
        if self._rehearsing:
            return tensor
        flat = _bytes(tensor.view(-1))
        self._exchange(
            flat if src == self._me else None,
            {src: _Into(flat)} if src in self._others else {},
            size=len(flat),
        )
        return tensor

    def close(self) -> None:
        """Give the pinned memory back."""
        self._memory.close()

    def _exchange(
        self,
        outgoing: torch.Tensor | None,
        incoming: "dict[int, _Consumer]",
        size: int,
    ) -> None:
        """Publish ``outgoing`` in parts and consume the lanes of ``incoming``, overlapped.

        Args:
            outgoing: Bytes to publish; None publishes nothing.
            incoming: What to do with the parts of other members.
            size: Length of each member's tensor, in bytes.
        """
        starts = range(0, size, SLOT_BYTES)
        if outgoing is not None and self._sending is not None:
            self._sending.wait_stream(torch.cuda.current_stream(self._memory.device))
        for step in range(len(starts) + _AHEAD):
            if outgoing is not None and step < len(starts):
                self._send(outgoing[starts[step] : starts[step] + SLOT_BYTES])
            if step >= _AHEAD:
                start = starts[step - _AHEAD]
                for member, consume in incoming.items():
                    lane = self._lanes[member]
                    consume(start, lane.next(min(SLOT_BYTES, size - start)))
                    lane.release()
        if outgoing is not None and self._sending is not None:
            # The caller may change what it sent.
            torch.cuda.current_stream(self._memory.device).wait_stream(self._sending)

    def _send(self, payload: torch.Tensor) -> None:
        lane = self._lanes[self._me]
        slot = lane.acquire(len(payload))
        if self._sending is None:
            slot.copy_(payload)
            lane.publish()
            return
        with torch.cuda.stream(self._sending):
            slot.copy_(payload, non_blocking=True)
            lane.publish()


class _Consumer(Protocol):
    def __call__(self, start: int, slot: torch.Tensor) -> None:
        """Use the bytes ``slot``, which begin at byte ``start`` of the tensor."""


class _Into:
    """Copies parts to where they belong in ``target`` (bytes,)."""

    def __init__(self, target: torch.Tensor) -> None:
        self._target = target

    def __call__(self, start: int, slot: torch.Tensor) -> None:
        self._target[start : start + len(slot)].copy_(slot, non_blocking=True)


def _bytes(flat: torch.Tensor) -> torch.Tensor:
    """A contiguous tensor of one dimension as uint8; bool and empty ones included."""
    return flat.view(torch.uint8)
