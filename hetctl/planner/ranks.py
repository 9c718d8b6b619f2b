"""A placement as the ranks of a :class:`~hetctl.plan.Plan`."""

from hetctl.plan import RankPlan
from hetctl.planner.memory import activation_bytes, framework_bytes
from hetctl.planner.placement import PlacedStage, Placement


def kv_cache_tokens(placement: Placement) -> int:
    """Tokens that every rank has KV cache for.

    GPUs alone: what the fullest one has room for, because vLLM takes all of its budget. As
    soon as a CPU rank takes part: what the concurrent sequences need, because host memory
    is shared with everything else on the machine.
    """
    serving = placement.memory.serving
    needed = serving.concurrency * serving.max_model_len
    if placement.strategy != "gpu":
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
    first, last = index == 0, index == len(placement.stages) - 1
    return RankPlan(
        rank=index,
        device=stage.device.name,
        layers=(stage.first, stage.end),
        numa_node=stage.device.numa_node,
        cpus=stage.device.cpus,
        weight_bytes=memory.weights[stage.end]
        - memory.weights[stage.first]
        + memory.spec.edge_weight_bytes(first, last),
        kv_cache_bytes=int(sequences * _kv_per_sequence(placement, stage)),
        activation_bytes=activation_bytes(memory.spec, memory.serving, last),
        framework_bytes=framework_bytes(stage.device.kind),
        memory_limit_bytes=stage.device.memory_limit_bytes,
        decode_step_s=stage.decode_s,
        prefill_s=stage.prefill_s,
        bound_by="memory" if stage.read_s >= stage.compute_s else "compute",
    )


def _sequences_that_fit(placement: Placement, stage: PlacedStage) -> float:
    memory = placement.memory
    per_sequence = _kv_per_sequence(placement, stage)
    needed = memory.needed(stage.device, stage.first, stage.end)
    left = stage.device.memory_limit_bytes - needed
    return memory.serving.concurrency + (left / per_sequence if per_sequence else 0)


def _kv_per_sequence(placement: Placement, stage: PlacedStage) -> int:
    kv = placement.memory.kv_per_sequence
    return kv[stage.end] - kv[stage.first]
