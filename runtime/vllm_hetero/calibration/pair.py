"""What passes between two ranks, one on a GPU and one on a CPU, or both on CPUs.

The one that makes the shared memory is a CPU rank, as in an engine, and says its path; the
other one attaches, leads, and takes the times. Both make the same rounds in the same order.
"""

import mmap
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.channel import Channel
from vllm_hetero.calibration.shapes import HIDDEN
from vllm_hetero.collectives.bridge import Bridge, bridge_bytes
from vllm_hetero.hops import Receiver, Sender, segment
from vllm_hetero.hops.shm import ShmReceiver, ShmSender, create_segment

ROWS = (1, 8, 64, 512, 8192)
"""Tokens of a message: of 4,096 values in bfloat16, hence 8 KiB to 64 MiB."""

_WARM_UP = 5
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 100
_BYTES = 512 << 20
"""Of all rounds of a size: large messages take fewer."""


_SETTLE_S = 1e-3


def rounds_of(rows: int) -> int:
    """How many rounds both make, warm-up apart."""
    return max(_LEAST_ROUNDS, min(_MOST_ROUNDS, _BYTES // message_bytes(rows)))


def message_bytes(rows: int) -> int:
    """Size of a message of so many tokens."""
    return rows * HIDDEN * torch.bfloat16.itemsize


@dataclass
class Pair:
    """One rank's two ends of a pipeline hop."""

    sender: Sender
    receiver: Receiver
    device: torch.device

    def ping(self, message: dict[str, torch.Tensor]) -> float:
        """Seconds until a message has come back, from tensors complete to tensors usable."""
        synchronize(self.device)
        started = time.perf_counter()
        handles = self.sender.send(message)
        self.receiver.recv()
        for handle in handles:
            handle.wait()
        synchronize(self.device)
        return time.perf_counter() - started

    def pong(self) -> None:
        """Send the next message back."""
        for handle in self.sender.send(self.receiver.recv()):
            handle.wait()


def hops(
    channel: Channel, device: torch.device, paths: list[str] | None, peer_on_gpu: bool
) -> Samples:
    """Seconds of a hop between two stages, half of a round trip, by bytes.

    Args:
        paths: What the maker of the shared memory said; None makes it.
        peer_on_gpu: Whether the other rank has a GPU.
    """
    most = max(ROWS)
    makers = [
        lambda: create_segment(message_bytes(most)),
        lambda: create_segment(message_bytes(most), to_gpu=peer_on_gpu),
    ]
    mappings = _shared(channel, paths, makers)
    leads = paths is not None
    outgoing, incoming = mappings if leads else mappings[::-1]
    sender = ShmSender(outgoing, device, to_gpu=peer_on_gpu)
    receiver = ShmReceiver(incoming, device, most)
    ends = Pair(sender, receiver, device)
    samples: Samples = {}
    for rows in ROWS:
        message = {"hidden_states": _state(rows, device)}
        for turn in range(_WARM_UP + rounds_of(rows)):
            if not leads:
                ends.pong()
                continue
            stay_awake()
            seconds = ends.ping(message)
            if turn >= _WARM_UP:
                samples.setdefault(message_bytes(rows), []).append(seconds / 2)
    synchronize(device)
    sender.close()
    receiver.close()
    return samples


def all_reduces(
    channel: Channel, device: torch.device, paths: list[str] | None, peer_on_gpu: bool
) -> Samples:
    """Seconds of an all-reduce of two ranks, by bytes; arguments as those of :func:`hops`.

    The bridge is for ranks of two kinds; two CPU ranks play a rank of each.
    """
    mapping = _shared(channel, paths, [lambda: segment.create(bridge_bytes(2))])[0]
    leads = paths is not None
    bridge = Bridge(mapping, [True, False], 0 if leads else 1, os.getpid(), device, None)
    samples: Samples = {}
    for rows in ROWS:
        part = _state(rows, device)
        for turn in range(_WARM_UP + rounds_of(rows)):
            if leads:
                stay_awake()
            started = time.perf_counter()
            bridge.all_reduce(part)
            synchronize(device)
            passed_s = time.perf_counter() - started
            if leads and turn >= _WARM_UP:
                samples.setdefault(message_bytes(rows), []).append(passed_s)
    bridge.close()
    return samples


def stay_awake() -> None:
    """Let the other side begin to wait, as it does in an engine.

    Awake, as a rank that has just computed what it sends.
    """
    begin = time.perf_counter() + _SETTLE_S
    while time.perf_counter() < begin:
        pass


def synchronize(device: torch.device) -> None:
    """Wait for the device's work; a CPU's is done when its call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def _state(rows: int, device: torch.device) -> torch.Tensor:
    return torch.ones(rows, HIDDEN, dtype=torch.bfloat16, device=device)


_Maker = Callable[[], tuple[str, mmap.mmap]]


def _shared(channel: Channel, paths: list[str] | None, makers: Sequence[_Maker]) -> list[mmap.mmap]:
    """The shared memory, made here or by the peer."""
    if paths is not None:
        return [segment.attach(path) for path in paths]
    made = [make() for make in makers]
    channel.answer(say=[path for path, _ in made])
    return [mapping for _, mapping in made]
