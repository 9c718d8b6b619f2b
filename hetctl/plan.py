"""Which device runs which layers: the document that ``hetctl plan`` writes."""

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hetctl.document import Document, Frozen, Source
from hetctl.workload import Workload

Strategy = Literal["gpu", "pipeline", "cpu"]


class RankPlan(Frozen):
    """One rank (one worker process), one pipeline stage."""

    rank: NonNegativeInt
    device: str
    """``cuda:N`` (NVML index) or ``cpu``."""
    layers: tuple[NonNegativeInt, NonNegativeInt]
    """Half-open range of layers: first, one past the last."""
    numa_node: NonNegativeInt | None = None
    """The memory that a CPU rank binds to."""
    cpus: tuple[NonNegativeInt, ...] = ()
    """Logical CPUs that a CPU rank's compute threads are pinned to."""
    weight_bytes: NonNegativeInt
    kv_cache_bytes: NonNegativeInt
    activation_bytes: NonNegativeInt = 0
    framework_bytes: NonNegativeInt = 0
    """CUDA context and libraries, allocator slack, the Python process."""
    memory_limit_bytes: PositiveInt
    """What the rank may take on its device."""
    decode_step_s: NonNegativeFloat = 0.0
    """Predicted time of this rank in one decode step of the whole batch."""
    prefill_s: NonNegativeFloat = 0.0
    """Predicted time of this rank for one prompt."""
    bound_by: Literal["memory", "compute"] = "memory"

    @property
    def num_layers(self) -> int:
        return self.layers[1] - self.layers[0]

    @property
    def used_bytes(self) -> int:
        return (
            self.weight_bytes + self.kv_cache_bytes + self.activation_bytes + self.framework_bytes
        )


class Prediction(Frozen):
    """Speed under the plan's workload."""

    ttft_s: NonNegativeFloat
    """To the first token of a request that finds the others decoding."""
    tpot_s: NonNegativeFloat
    """From one token of a request to its next, other requests' prefills included."""
    output_tokens_per_s: NonNegativeFloat
    """Of all requests together."""
    rates: Source = "estimate"
    """The weakest source among the rates that the prediction rests on."""


class Alternative(Frozen):
    """A strategy that was considered and not chosen, or cannot run."""

    strategy: Strategy
    feasible: bool
    reason: str
    """One sentence: why not, with the number that decides."""
    split: tuple[NonNegativeInt, ...] = ()
    devices: tuple[str, ...] = ()
    prediction: Prediction | None = None


class Plan(Document):
    """A split of one model over the devices of one machine, and what it should give."""

    KIND: ClassVar[str] = "hetctl.plan"

    model: str
    """Folder or hub id."""
    model_parameters: PositiveInt
    dtype: Literal["float32", "float16", "bfloat16"]
    machine_fingerprint: str
    workload: Workload
    strategy: Strategy
    ranks: tuple[RankPlan, ...]
    max_model_len: PositiveInt
    max_num_seqs: PositiveInt
    max_num_batched_tokens: PositiveInt = 2048
    """Tokens of one forward pass at most; the activations are planned for it."""
    block_size: PositiveInt
    gpu_memory_utilization: PositiveFloat | None = None
    """The GPU ranks' smallest limit as a share of the real memory, as vLLM's option
    takes it; None without GPU ranks."""
    kv_cache_tokens: PositiveInt
    """Tokens that the smallest KV cache among the ranks holds."""
    prediction: Prediction
    explanation: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()

    @property
    def split(self) -> tuple[int, ...]:
        """Layers per stage, in pipeline order."""
        return tuple(rank.num_layers for rank in self.ranks)

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(rank.device for rank in self.ranks)
