"""What one run was predicted to do and what it did: how hetctl learns from benchmarks.

``hetctl bench`` keeps one such document per run (:mod:`hetctl.evidence`), and plans of the same
machine are corrected by them (:mod:`hetctl.planner.evidence`).
"""

from typing import ClassVar

from pydantic import (
    AwareDatetime,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from hetctl.document import Document, Frozen
from hetctl.plan import Metric, Offload, Strategy
from hetctl.workload import Workload


class Speed(Frozen):
    """The figures that are predicted; of a run, medians over its requests."""

    ttft_s: NonNegativeFloat
    """Time to first token."""
    tpot_s: NonNegativeFloat
    """Time per output token."""
    output_tokens_per_s: PositiveFloat
    """Of all requests together."""


class RankUse(Frozen):
    """A rank's memory as planned and as the engine reported it when all ranks were ready. In
    bytes of the rank's device; None where the engine could not tell."""

    rank: NonNegativeInt
    device: str
    """``cuda:N`` or ``cpu``."""
    planned_weight_bytes: NonNegativeInt
    planned_kv_cache_bytes: NonNegativeInt
    planned_bytes: NonNegativeInt
    """All together."""
    weight_bytes: NonNegativeInt
    """Here and in ``peak_bytes`` without second copies, which a CPU rank makes of memory that is
    left over."""
    kv_cache_bytes: NonNegativeInt
    kv_cache_blocks: NonNegativeInt
    """Blocks that the engine allocated."""
    activation_bytes: NonNegativeInt | None = None
    cuda_graph_bytes: NonNegativeInt | None = None
    peak_bytes: NonNegativeInt
    """The most that the rank took, all together."""

    @property
    def error(self) -> float:
        """By how much more was planned than was taken, as a share of what was taken.

        The KV cache counts as it was allocated on both sides: where it gets what the rest
        leaves, its size says nothing about the plan.
        """
        planned = self.planned_bytes - self.planned_kv_cache_bytes + self.kv_cache_bytes
        return planned / self.peak_bytes - 1 if self.peak_bytes else 0.0


class RunRecord(Document):
    """One run of a plan under the load that it was planned for."""

    KIND: ClassVar[str] = "hetctl.run_record"

    machine_fingerprint: str = Field(min_length=1)
    """Of the machine that it ran on."""
    session: str
    """Equal for the runs of one call of ``hetctl bench``."""
    started: AwareDatetime
    """When the load began."""
    rates_digest: str
    """Of the rates that were predicted with (``hetctl.planner.evidence``)."""
    predictor_version: NonNegativeInt = 0
    """Of the cost model that predicted (``hetctl.planner.predictor``); 0 where it is not known."""
    versions: dict[str, str]
    """Of hetctl and of what it runs."""
    model: str
    """Folder or hub id."""
    family: str
    """Architecture, dtype and bits per weight."""
    parameters: PositiveInt
    """Of the model."""
    strategy: Strategy
    devices: tuple[str, ...]
    """One per rank, in order."""
    split: tuple[PositiveInt, ...]
    """Layers per stage."""
    offload: Offload | None = None
    away_share: float = Field(ge=0, le=1)
    """Share of the weights that no GPU holds."""
    workload: Workload
    """The load that was planned and sent."""
    predicted: Speed
    """By the cost model alone, without corrections."""
    measured: Speed
    """Medians over the requests."""
    completed: PositiveInt
    """Requests that were answered."""
    ranks: tuple[RankUse, ...] = ()
    """Empty where the engine did not report."""
    unlike_plan: str = ""
    """Why the run says nothing about plans, as a clause; empty where it does."""

    @property
    def ratios(self) -> dict[Metric, float]:
        """Measured over predicted, by figure; one that is 0 on either side is left out."""
        told, seen = self.predicted, self.measured
        pairs: dict[Metric, tuple[float, float]] = {
            "ttft": (seen.ttft_s, told.ttft_s),
            "tpot": (seen.tpot_s, told.tpot_s),
            "throughput": (seen.output_tokens_per_s, told.output_tokens_per_s),
        }
        return {metric: a / b for metric, (a, b) in pairs.items() if a > 0 and b > 0}
