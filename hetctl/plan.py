"""Which device runs which layers: the document that ``hetctl plan`` writes."""

import unicodedata
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from hetctl.document import Document, Frozen, Source
from hetctl.migration import Steps
from hetctl.model.spec import KvCacheDtype
from hetctl.plan_steps import PLAN_STEPS
from hetctl.workload import Workload

Strategy = Literal[
    "gpu",
    "gpu-tp",
    "uva",
    "prefetch",
    "uva-tp",
    "prefetch-tp",
    "pipeline",
    "pipeline-uva",
    "pipeline-prefetch",
    "mixed-tp",
    "cpu",
    "cpu-tp",
]
"""How a model runs:

gpu           on one GPU, or several as pipeline stages
gpu-tp        on several GPUs, each layer divided among them
uva           on GPUs that read a part of the weights in place from host memory
prefetch      on GPUs that some layers are copied to just before they run
uva-tp, prefetch-tp
              as gpu-tp, where each GPU streams a part of its share
pipeline      on GPUs and CPUs as pipeline stages
mixed-tp      on GPUs and CPUs, each layer divided among them
pipeline-uva, pipeline-prefetch
              as pipeline, where the GPUs also stream some of their own layers
cpu           on one CPU rank, or several as pipeline stages
cpu-tp        on several CPU ranks, each layer divided among them
"""

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def _is_model(name: str) -> str:
    """A plan may come from anybody, and the name becomes an argument of ``vllm serve``."""
    unsafe = any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)
    if not name or name.startswith("-") or unsafe:
        raise ValueError("a model is a folder or a hub id, without control characters")
    return name


ModelName = Annotated[str, AfterValidator(_is_model)]
DeviceName = Annotated[str, Field(pattern=r"^(cpu|cuda:[0-9]+)$")]


class UvaOffload(Frozen):
    """vLLM's ``--offload-backend uva``: kernels read some weights over the host link."""

    backend: Literal["uva"] = "uva"
    gib_per_gpu: PositiveFloat
    """GiB of weights that each GPU reads from host memory."""


class PrefetchOffload(Frozen):
    """vLLM's ``--offload-backend prefetch``: of every group of layers, the last ones are
    copied to a buffer on the GPU while the layers before them run."""

    backend: Literal["prefetch"] = "prefetch"
    group_size: PositiveInt
    """Layers of a group."""
    num_in_group: PositiveInt
    """How many of each group are copied."""
    prefetch_step: PositiveInt = 1
    """How many layers ahead a copy begins."""

    def offloads(self, layer: int) -> bool:
        """Whether the stage's ``layer``-th layer is streamed (``offloader/prefetch.py``)."""
        return layer % self.group_size >= self.group_size - self.num_in_group


Offload = Annotated[UvaOffload | PrefetchOffload, Field(discriminator="backend")]


class StepParts(Frozen):
    """Where a rank's part of a decode step goes."""

    weights_s: NonNegativeFloat = 0.0
    """Reading weights where they are computed, or computing, where that takes longer."""
    stream_s: NonNegativeFloat = 0.0
    """Waiting for weights that come over the host link."""
    attention_s: NonNegativeFloat = 0.0
    """Reading the KV cache."""
    transfer_s: NonNegativeFloat = 0.0
    """Hand-overs to and from other ranks."""
    overhead_s: NonNegativeFloat = 0.0
    """Launches, norms and barriers."""

    @property
    def total_s(self) -> float:
        return self.weights_s + self.stream_s + self.attention_s + self.transfer_s + self.overhead_s


class RankPlan(Frozen):
    """One rank (one worker process): a pipeline stage, or one share of it."""

    rank: NonNegativeInt
    """In vLLM's order."""
    device: DeviceName
    """``cuda:N`` (NVML index) or ``cpu``."""
    layers: tuple[NonNegativeInt, NonNegativeInt]
    """Half-open range of layers: first, one past the last."""
    numa_node: NonNegativeInt | None = None
    """The memory that a CPU rank binds to."""
    cpus: tuple[NonNegativeInt, ...] = ()
    """Logical CPUs that a CPU rank's compute threads are pinned to."""
    weight_bytes: NonNegativeInt
    """On the device, with the buffer of layers that are streamed to it."""
    host_weight_bytes: NonNegativeInt = 0
    """In pinned host memory, streamed to the device."""
    kv_cache_bytes: NonNegativeInt
    """For the layers of this rank."""
    activation_bytes: NonNegativeInt = 0
    """The most that a forward pass needs at a time."""
    cuda_graph_bytes: NonNegativeInt = 0
    """What captured CUDA graphs hold."""
    framework_bytes: NonNegativeInt = 0
    """CUDA context and libraries, allocator slack, the Python process."""
    memory_limit_bytes: PositiveInt
    """What the rank may take on its device."""
    decode_step_s: NonNegativeFloat = 0.0
    """Predicted time of this rank in one decode step of the whole batch."""
    decode_parts: StepParts = StepParts()
    """The same, divided."""
    prefill_s: NonNegativeFloat = 0.0
    """Predicted time of this rank in the steps that hold one prompt."""
    bound_by: Literal["memory", "compute"] = "memory"
    """What a decode step of this rank waits for: reading, or computing."""

    @property
    def num_layers(self) -> int:
        return self.layers[1] - self.layers[0]

    @property
    def used_bytes(self) -> int:
        return (
            self.weight_bytes
            + self.kv_cache_bytes
            + self.activation_bytes
            + self.cuda_graph_bytes
            + self.framework_bytes
        )


Metric = Literal["ttft", "tpot", "throughput"]
"""What is predicted of a plan, and measured of a run."""


class Correction(Frozen):
    """What past runs say about one predicted figure (:mod:`hetctl.planner.evidence`)."""

    metric: Metric
    runs: PositiveInt
    """How many runs it rests on."""
    sessions: PositiveInt
    """Different benchmarks that the runs are of."""
    error: float
    """By how much the figure was predicted too high, as a share of what was measured; below 0,
    too low. The median over the runs, of predictions without any correction."""
    spread: NonNegativeFloat
    """How far the runs' errors typically lie from that median."""
    factor: PositiveFloat = 1.0
    """What the prediction was multiplied by."""


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
    corrections: tuple[Correction, ...] = ()
    """What past runs of this strategy say, where there are any; the figures above contain it."""

    @property
    def uncorrected(self) -> "Prediction":
        """What the cost model alone predicts."""
        factor = {correction.metric: correction.factor for correction in self.corrections}
        return self.model_copy(
            update={
                "ttft_s": self.ttft_s / factor.get("ttft", 1.0),
                "tpot_s": self.tpot_s / factor.get("tpot", 1.0),
                "output_tokens_per_s": self.output_tokens_per_s / factor.get("throughput", 1.0),
                "corrections": (),
            }
        )


class RankedStrategy(Frozen):
    """A strategy at its best on the machine, or why it cannot run there."""

    strategy: Strategy
    name: str
    """For people: ``GPU and CPU``, ``one GPU``."""
    chosen: bool = False
    """Whether it is the plan."""
    feasible: bool
    """Whether it can run at all."""
    verdict: str
    """How it compares with the chosen one, or the number that makes it infeasible."""
    bottleneck: str = ""
    """One sentence: what a decode step is spent on."""
    split: tuple[NonNegativeInt, ...] = ()
    """Layers per stage."""
    devices: tuple[str, ...] = ()
    """One per rank, in order."""
    ranks: tuple[RankPlan, ...] = ()
    offload: Offload | None = None
    prediction: Prediction | None = None


class Crossover(Frozen):
    """From so many concurrent sequences on, this strategy is the choice."""

    concurrency: PositiveInt
    """The first number of sequences."""
    strategy: Strategy
    name: str
    """For people, as of a :class:`RankedStrategy`."""
    output_tokens_per_s: NonNegativeFloat


class WhatIf(Frozen):
    """What another machine would choose under the same load."""

    change: str
    """Such as ``a PCIe 5.0 slot``."""
    strategy: Strategy
    name: str
    """For people, as of a :class:`RankedStrategy`."""
    speedup: NonNegativeFloat
    """Its tokens per second over this plan's."""


class Plan(Document):
    """A split of one model over the devices of one machine, and what it should give."""

    KIND: ClassVar[str] = "hetctl.plan"
    VERSION: ClassVar[int] = 3
    STEPS: ClassVar[Steps] = PLAN_STEPS

    model: ModelName
    """Folder or hub id."""
    model_parameters: PositiveInt
    """Of the whole model."""
    dtype: Literal["float32", "float16", "bfloat16"]
    """That the model runs in."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """As vLLM's option takes it."""
    machine_fingerprint: str
    """Of the machine that it was planned for."""
    workload: Workload
    """The load that it was planned for."""
    strategy: Strategy
    """How the model runs: see the planner's page."""
    ranks: tuple[RankPlan, ...]
    """In vLLM's order: the shares of a stage follow one another."""
    tensor_parallel_size: PositiveInt = 1
    """Ranks that each stage is divided among."""
    offload: Offload | None = None
    """Weights that vLLM streams from host memory."""
    max_model_len: PositiveInt
    """The longest context that it serves, in tokens."""
    max_num_seqs: PositiveInt
    """Sequences that the engine takes at a time, at most."""
    max_num_batched_tokens: PositiveInt = 2048
    """Tokens of one forward pass at most; the activations are planned for it."""
    block_size: PositiveInt
    """Tokens of a block of KV cache, the same on all ranks."""
    gpu_memory_utilization: PositiveFloat | None = None
    """The GPU ranks' smallest limit as a share of the real memory, as vLLM's option
    takes it; None without GPU ranks."""
    kv_cache_tokens: PositiveInt
    """Tokens that the smallest KV cache among the ranks holds."""
    prediction: Prediction
    """Of the whole plan."""
    predictor_version: NonNegativeInt = 0
    """Of the cost model (``hetctl.planner.predictor``); 0 in plans that do not say."""
    explanation: tuple[str, ...] = ()
    """Why, in sentences."""
    crossovers: tuple[Crossover, ...] = ()
    """The choice by concurrency, from 1 on; empty where it was not looked for."""
    what_if: tuple[WhatIf, ...] = ()
    """What would make it faster."""
    ranking: tuple[RankedStrategy, ...] = ()
    """Every strategy, the best first and the infeasible last. Memory is that of the context
    planned for; the chosen one's ranks above have what room was left as KV cache."""

    @property
    def split(self) -> tuple[int, ...]:
        """Layers per stage, in pipeline order."""
        return tuple(rank.num_layers for rank in self.ranks[:: self.tensor_parallel_size])

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(rank.device for rank in self.ranks)
