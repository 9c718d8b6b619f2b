"""How close decoding comes to what memory bandwidth allows.

Decoding reads every weight that a token passes, once per step, and the KV cache of the
sequences in the step. No sequence can have its next token before each stage has read its
part, so the sum over stages of bytes / bandwidth is the least time per output token.
"""

from dataclasses import dataclass

from hetctl.bench.results import Measurement
from hetctl.document import Figure
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.plan import Plan, RankPlan
from hetctl.planner.cost import weight_bytes_read
from hetctl.planner.steps import Step


@dataclass(frozen=True)
class MemoryLimit:
    """One run against the memory of the machine that it ran on."""

    bytes_per_token: float
    """Weights and KV cache that the ranks read for one output token."""
    step_s: float
    """A decode step at full bandwidth."""
    share: float
    """``step_s`` over the measured mean time per output token: 1 is the limit. Prompts that
    other requests bring in between count as time lost."""
    measured_rates: bool
    """Whether the bandwidths were measured on the machine; else datasheet or estimate."""


@dataclass(frozen=True)
class _Read:
    seconds: float
    size: float
    measured: bool


def memory_limit(
    spec: ModelSpec, plan: Plan, machine: Machine, measured: Measurement
) -> MemoryLimit | None:
    """The limit for a run of ``plan``; None where a bandwidth is not known.

    Sequences per step are those that decoded at a time (output tokens/s x time per token).
    """
    tpot_s = measured.tpot.mean_s
    if tpot_s <= 0 or not measured.output_tokens:
        return None
    decoding = max(1, round(measured.output_throughput * tpot_s))
    context = (measured.input_tokens + measured.output_tokens / 2) / measured.completed
    step = Step(decoding, context)
    reads = [_read(spec, plan, rank, machine, step) for rank in plan.ranks]
    known = [read for read in reads if read is not None]
    if len(known) < len(reads):
        return None
    # The shares of a stage read at the same time, the stages one after another.
    size = plan.tensor_parallel_size
    stages = [known[i : i + size] for i in range(0, len(known), size)]
    step_s = sum(max(read.seconds for read in stage) for stage in stages)
    return MemoryLimit(
        bytes_per_token=sum(read.size for read in known) / decoding,
        step_s=step_s,
        share=step_s / tpot_s,
        measured_rates=all(read.measured for read in known),
    )


def _read(
    spec: ModelSpec, plan: Plan, rank: RankPlan, machine: Machine, step: Step
) -> _Read | None:
    memory, link = _bandwidths(rank, machine)
    if memory is None:
        return None
    first, end = rank.layers
    layers = spec.layers[first:end]
    weights = sum(weight_bytes_read(layer, step) for layer in layers)
    weights += spec.head_bytes if end == len(spec.layers) else 0
    kv = sum(
        step.decoding
        * layer.kv_bytes_per_token
        * min(step.decode_context, layer.sliding_window or step.decode_context)
        for layer in layers
    )
    share = 1 / plan.tensor_parallel_size
    size = (weights + kv) * share
    if plan.offload is None or not rank.host_weight_bytes:
        return _Read(size / memory.value, size, memory.source == "measured")
    if link is None:
        return None
    both = memory.source == link.source == "measured"
    streamed = min(float(rank.host_weight_bytes), weights * share)
    if plan.offload.backend == "uva":
        # Kernels read these in place, so they are not read from the GPU's memory.
        seconds = (size - streamed) / memory.value + streamed / link.value
        return _Read(seconds, size, both)
    # Copied while other layers compute, then read from the GPU's memory like the rest.
    seconds = max(size / memory.value, streamed / link.value)
    return _Read(seconds, size + streamed, both)


def _bandwidths(rank: RankPlan, machine: Machine) -> tuple[Figure | None, Figure | None]:
    """Of the rank's own memory, and of its link to host memory."""
    kind, _, index = rank.device.partition(":")
    if kind == "cuda":
        gpu = next((gpu for gpu in machine.gpus if gpu.index == int(index)), None)
        return (gpu.memory_read_bytes_per_s, gpu.host_to_device_bytes_per_s) if gpu else (None,) * 2
    node = next((node for node in machine.numa_nodes if node.id == (rank.numa_node or 0)), None)
    return (node.memory_read_bytes_per_s if node else None), None
