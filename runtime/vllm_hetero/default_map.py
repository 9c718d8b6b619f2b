"""The rank map when the user gives none: GPUs first, then NUMA nodes.

Ranks 0..N-1 run on the N visible GPUs and rank N+k on NUMA node k, as in the vLLM Hybrid
fork. When there are more CPU ranks than nodes, ranks share a node and divide its cores;
when there are more than cores, they take turns on them.
"""

from collections.abc import Mapping

from vllm_hetero.rank_map import Rank, RankMap


def default_rank_map(
    world_size: int, gpus: int, cores: Mapping[int, list[int]], quota: float | None = None
) -> RankMap:
    """The map for ``world_size`` ranks.

    Args:
        world_size: Number of ranks.
        gpus: Visible CUDA devices.
        cores: One logical CPU per usable physical core, by NUMA node.
        quota: CPUs' worth of time that this process may take; None without a limit.
    """
    nodes = sorted(cores)
    cpu_ranks = max(0, world_size - gpus)
    ranks = [Rank(rank=i, device=f"cuda:{i}") for i in range(min(gpus, world_size))]
    computing = compute_cores(cores, len(ranks), quota)
    for position in range(cpu_ranks):
        node = nodes[position % len(nodes)]
        sharers = len(range(position % len(nodes), cpu_ranks, len(nodes)))
        part = share(computing[node], sharers, position // len(nodes))
        ranks.append(Rank(rank=len(ranks), device="cpu", cpus=tuple(part), numa_node=node))
    return RankMap(tuple(ranks))


def compute_cores(
    cores: Mapping[int, list[int]], gpu_ranks: int, quota: float | None = None
) -> dict[int, list[int]]:
    """What each node has for compute threads when all others that poll have a core each.

    These are the engine and the GPU ranks: two of them on one core, or one on a core that
    computes, cost a decode step some milliseconds. They are spread over the nodes, and get a
    quarter of a node's cores at most; the first ones, where most interrupts land. hetctl's planner
    counts alike (``thread_cores``).

    Args:
        cores: One logical CPU per usable physical core, by NUMA node.
        gpu_ranks: GPU ranks of the engine.
        quota: CPUs' worth of time that this process may take: more threads than that are
            throttled all at once, in the middle of a barrier. None without a limit.
    """
    others = -(-(1 + gpu_ranks) // len(cores)) if cores else 0
    everywhere = sum(map(len, cores.values()))
    found = {}
    for node, there in cores.items():
        left = there[min(others, len(there) // 4) :]
        most = len(left) if quota is None else max(1, int(quota * len(there) / everywhere))
        found[node] = left[:most]
    return found


def share(cores: list[int], sharers: int, index: int) -> list[int]:
    """The ``index``-th of ``sharers`` contiguous, nearly equal parts; never empty."""
    if sharers > len(cores):
        return [cores[index % len(cores)]]
    first = len(cores) * index // sharers
    return cores[first : len(cores) * (index + 1) // sharers]
