"""A placement as the ranks of a :class:`~hetctl.plan.Plan`."""

from hetctl.plan import RankPlan
from hetctl.planner.memory import (
    activation_bytes,
    cuda_graph_bytes,
    edge_weight_bytes,
    framework_bytes,
)
from hetctl.planner.placement import PlacedStage, Placement


def kv_cache_tokens(placement: Placement) -> int:
    """Tokens that every rank has KV cache for, as vLLM counts them: sequences of the longest
    context, times that."""
    layout = placement.memory.cache
    if not layout.blocks_per_sequence:
        return placement.memory.serving.concurrency * placement.memory.serving.max_model_len
    sequences = (_blocks(placement) - 1) / layout.blocks_per_sequence
    return int(sequences * placement.memory.serving.max_model_len)


def rank_plans(placement: Placement) -> tuple[RankPlan, ...]:
    """One rank per stage, in pipeline order."""
    blocks = _blocks(placement)
    return tuple(_rank(i, placement, blocks) for i in range(len(placement.stages)))


def _blocks(placement: Placement) -> int:
    """Blocks that every rank has.

    GPUs alone: what the fullest one has room for, because vLLM takes all of its budget. As
    soon as a CPU rank takes part: what the concurrent sequences need, because host memory
    is shared with everything else on the machine.
    """
    needed = placement.memory.cache.blocks
    if any(stage.device.kind == "cpu" for stage in placement.stages):
        return needed
    more = (_more_blocks(placement, stage) for stage in placement.stages)
    return needed + min((count for count in more if count is not None), default=0)


def _rank(index: int, placement: Placement, blocks: int) -> RankPlan:
    stage, memory = placement.stages[index], placement.memory
    first, last = stage.first == 0, stage.end == len(memory.spec.layers)
    kind = stage.device.kind
    return RankPlan(
        rank=index,
        device=stage.device.name,
        layers=(stage.first, stage.end),
        numa_node=stage.device.numa_node,
        cpus=stage.device.cpus,
        weight_bytes=memory.weights[stage.end]
        - memory.weights[stage.first]
        + edge_weight_bytes(kind, memory.spec, first, last)
        - stage.host_bytes
        + stage.buffer_bytes,
        host_weight_bytes=stage.host_bytes,
        kv_cache_bytes=blocks * memory.cache.block_bytes_on(stage.first, stage.end),
        activation_bytes=activation_bytes(memory.spec, memory.serving, last),
        cuda_graph_bytes=cuda_graph_bytes(kind, stage.end - stage.first, memory.serving),
        framework_bytes=framework_bytes(kind),
        memory_limit_bytes=stage.device.memory_limit_bytes,
        decode_step_s=stage.decode.total_s,
        decode_parts=stage.decode.as_parts(),
        prefill_s=placement.steps.prefill_s(stage.mixed_s),
        bound_by="compute" if stage.decode.compute_bound else "memory",
    )


def _more_blocks(placement: Placement, stage: PlacedStage) -> int | None:
    """Blocks that a stage's device has room for beyond those needed; None without a cache."""
    memory = placement.memory
    block = memory.cache.block_bytes_on(stage.first, stage.end)
    left = stage.device.memory_limit_bytes - stage.needed(memory)
    return left // block if block else None
