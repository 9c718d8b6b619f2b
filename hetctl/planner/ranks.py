"""A placement as the ranks of a :class:`~hetctl.plan.Plan`."""

from hetctl.plan import RankPlan
from hetctl.planner.memory import activation_bytes, cuda_graph_bytes, framework_bytes
from hetctl.planner.placement import PlacedStage, Placement


def kv_cache_tokens(placement: Placement) -> int:
    """Tokens that every rank has KV cache for.

    GPUs alone: what the fullest one has room for, because vLLM takes all of its budget. As
    soon as a CPU rank takes part: what the concurrent sequences need, because host memory
    is shared with everything else on the machine.
    """
    serving = placement.memory.serving
    needed = serving.concurrency * serving.max_model_len
    if any(stage.device.kind == "cpu" for stage in placement.stages):
        return needed
    sequences = min(_sequences_that_fit(placement, stage) for stage in placement.stages)
    return max(needed, int(sequences * serving.max_model_len))


def rank_plans(placement: Placement) -> tuple[RankPlan, ...]:
    """One rank per stage, in pipeline order."""
    serving = placement.memory.serving
    sequences = kv_cache_tokens(placement) / serving.max_model_len
    return tuple(_rank(i, placement, sequences) for i in range(len(placement.stages)))


def _rank(index: int, placement: Placement, sequences: float) -> RankPlan:
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
        + memory.spec.edge_weight_bytes(first, last)
        - stage.host_bytes
        + stage.buffer_bytes,
        host_weight_bytes=stage.host_bytes,
        kv_cache_bytes=int(sequences * _kv_per_sequence(placement, stage))
        + memory.null_block[stage.end]
        - memory.null_block[stage.first],
        activation_bytes=activation_bytes(memory.spec, memory.serving, last),
        cuda_graph_bytes=cuda_graph_bytes(kind, stage.end - stage.first, memory.serving),
        framework_bytes=framework_bytes(kind),
        memory_limit_bytes=stage.device.memory_limit_bytes,
        decode_step_s=stage.decode.total_s,
        decode_parts=stage.decode.as_parts(),
        prefill_s=placement.steps.prefill_s(stage.mixed_s),
        bound_by="compute" if stage.decode.compute_bound else "memory",
    )


def _sequences_that_fit(placement: Placement, stage: PlacedStage) -> float:
    memory = placement.memory
    per_sequence = _kv_per_sequence(placement, stage)
    needed = stage.needed(memory)
    left = stage.device.memory_limit_bytes - needed
    return memory.serving.concurrency + (left / per_sequence if per_sequence else 0)


def _kv_per_sequence(placement: Placement, stage: PlacedStage) -> int:
    kv = placement.memory.kv_per_sequence
    return kv[stage.end] - kv[stage.first]
