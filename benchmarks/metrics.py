"""What counting for /metrics costs a rank.

    python benchmarks/metrics.py

A step of a model runner that does nothing is called with and without what counts it: timer,
record, one message received and one sent. Printed is the difference in CPU time per step, in
microseconds: the median over slices that alternate. On a machine with a GPU, also for a GPU rank,
whose events are recorded on a stream with nothing else on it, so that each is done when it is
asked for.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch

from vllm_hetero.hops.counted import CountedReceiver, CountedSender
from vllm_hetero.metrics import record
from vllm_hetero.metrics.record import RankRecord
from vllm_hetero.metrics.step_meter import StepMeter
from vllm_hetero.stage_times import StepTimer

SLICES = 200
STEPS = 500
MESSAGE = {name: torch.zeros(8, 64) for name in ("hidden_states", "residual")}
POSITIONS = torch.zeros(8)


class Nothing:
    """A model runner and both ends of a hop, none of which does anything."""

    message_bytes = 4096

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.model = SimpleNamespace(compute_logits=lambda: None)

    def _model_forward(self, positions: torch.Tensor) -> None:
        pass

    def _sample(self) -> None:
        pass

    def recv(self) -> dict[str, torch.Tensor]:
        return MESSAGE

    def send(self, tensors: dict[str, torch.Tensor]) -> list[object]:
        return []


def plain(device: torch.device) -> Callable[[], None]:
    nothing = Nothing(device)

    def step() -> None:
        nothing.recv()
        nothing._model_forward(positions=POSITIONS)
        nothing.model.compute_logits()
        nothing._sample()
        nothing.send(MESSAGE)

    return step


def counted(device: torch.device, own: RankRecord) -> Callable[[], None]:
    nothing = Nothing(device)
    meter = StepMeter(own, 1 << 30, device)
    timer = StepTimer(nothing, meter.computed)
    receiver, sender = CountedReceiver(nothing, own), CountedSender(nothing, own)

    def step() -> None:
        begun_s = meter.begins()
        receiver.recv()
        nothing._model_forward(positions=POSITIONS)
        nothing.model.compute_logits()
        meter.ends(begun_s, 8)
        begun_s = meter.begins()
        nothing._sample()
        timer.settle()
        meter.ends(begun_s)
        sender.send(MESSAGE)

    return step


def cpu_seconds(step: Callable[[], None]) -> float:
    """Of one step; what others do with the machine is not in it."""
    began_s = time.thread_time()
    for _ in range(STEPS):
        step()
    return (time.thread_time() - began_s) / STEPS


def main() -> None:
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda:0"))
    with tempfile.TemporaryDirectory() as folder:
        record.create(folder, 0)
        own = RankRecord(folder, 0)
        for device in devices:
            without, with_it = plain(device), counted(device, own)
            costs = [cpu_seconds(with_it) - cpu_seconds(without) for _ in range(SLICES)]
            low, *_, high = statistics.quantiles(costs, n=10)
            middle = statistics.median(costs)
            print(f"{device.type}: {middle * 1e6:.2f} us a step", end=" ")
            print(f"(80% of slices between {low * 1e6:.2f} and {high * 1e6:.2f})")


if __name__ == "__main__":
    main()
