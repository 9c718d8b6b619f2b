"""What one rank does in one step, and how long each part of it takes."""

from dataclasses import dataclass

from hetctl.plan import StepParts
from hetctl.planner.cost import LAYER_PARTS, StepCost


@dataclass(frozen=True, slots=True)
class StageTime:
    """Parts of a rank's time in one step, in seconds; they add up."""

    weights_s: float = 0.0
    stream_s: float = 0.0
    """Waiting for weights that come over the host link, beyond what hides it."""
    attention_s: float = 0.0
    transfer_s: float = 0.0
    overhead_s: float = 0.0
    compute_bound: bool = False
    """Multiplying takes longer than reading the weights."""

    @property
    def total_s(self) -> float:
        return self.weights_s + self.stream_s + self.attention_s + self.transfer_s + self.overhead_s

    def as_parts(self) -> StepParts:
        return StepParts(
            weights_s=self.weights_s,
            stream_s=self.stream_s,
            attention_s=self.attention_s,
            transfer_s=self.transfer_s,
            overhead_s=self.overhead_s,
        )


def resident_time(cost: StepCost, first: int, end: int) -> StageTime:
    """Layers ``[first, end)`` whose weights are in the device's own memory."""
    read, compute, weights, attention, overhead, transfer = (
        sums[end] - sums[first] for sums in map(cost.parts_s.__getitem__, LAYER_PARTS)
    )
    last = end == len(cost.layers)
    if last:
        read += cost.head.read_s
        compute += cost.head.compute_s
        weights += cost.head.weights_s
        transfer += cost.head.transfer_s
    return StageTime(
        weights_s=weights,
        attention_s=attention,
        transfer_s=(first > 0) * cost.hop_in_s + (not last) * cost.hop_out_s + transfer,
        overhead_s=overhead,
        compute_bound=compute > read,
    )
