"""Plan -> rank map: what the vLLM plugin is told about each rank."""

from hetctl.plan import Plan, RankPlan
from vllm_hetero.rank_map import Rank, RankMap


def visible_gpus(plan: Plan) -> tuple[int, ...]:
    """NVML indices for ``CUDA_VISIBLE_DEVICES``, in ascending order."""
    return tuple(sorted(_nvml_index(rank) for rank in plan.ranks if rank.device != "cpu"))


def rank_map_of(plan: Plan) -> RankMap:
    """The rank map of a plan, one rank per pipeline stage.

    The plan numbers GPUs as NVML does, the rank map by their place among
    :func:`visible_gpus`. A GPU-only engine gets no KV-cache budget: vLLM measures there what
    the plan could only estimate. In a mix every rank gets its planned one, as all must hold
    the same number of blocks.
    """
    visible = visible_gpus(plan)
    return RankMap(tuple(_rank(rank, plan, visible) for rank in plan.ranks))


def _rank(rank: RankPlan, plan: Plan, visible: tuple[int, ...]) -> Rank:
    on_cpu = rank.device == "cpu"
    return Rank(
        rank=rank.rank,
        device="cpu" if on_cpu else f"cuda:{visible.index(_nvml_index(rank))}",
        layers=rank.layers,
        cpus=rank.cpus,
        numa_node=rank.numa_node,
        kv_cache_bytes=None if plan.strategy == "gpu" else rank.kv_cache_bytes,
    )


def _nvml_index(rank: RankPlan) -> int:
    return int(rank.device.removeprefix("cuda:"))
