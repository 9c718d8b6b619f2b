"""Plan -> rank map: what the vLLM plugin is told about each rank."""

from hetctl.plan import Plan, RankPlan
from vllm_hetero.rank_map import Rank, RankMap


def rank_map_of(plan: Plan) -> RankMap:
    """The rank map of a plan, one rank per pipeline stage.

    The plan numbers GPUs as NVML does; the rank map by their place in
    ``CUDA_VISIBLE_DEVICES``, which lists the plan's GPUs in pipeline order. A GPU-only engine
    gets no KV-cache budget: vLLM measures there what the plan could only estimate. In a mix
    every rank gets its planned one, as all hold the same number of blocks.
    """
    visible = [device for device in plan.devices if device != "cpu"]
    return RankMap(tuple(_rank(rank, plan, visible) for rank in plan.ranks))


def _rank(rank: RankPlan, plan: Plan, visible: list[str]) -> Rank:
    return Rank(
        rank=rank.rank,
        device="cpu" if rank.device == "cpu" else f"cuda:{visible.index(rank.device)}",
        layers=rank.layers,
        cpus=rank.cpus,
        numa_node=rank.numa_node,
        kv_cache_bytes=None if plan.strategy == "gpu" else rank.kv_cache_bytes,
    )
