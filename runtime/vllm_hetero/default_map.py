"""The rank map when the user gives none: GPUs first, then NUMA nodes.

Ranks 0..N-1 run on the N visible GPUs and rank N+k on NUMA node k, as in the vLLM Hybrid
fork. When there are more CPU ranks than nodes, ranks share a node and divide its cores;
when there are more than cores, they take turns on them.
"""

from vllm_hetero.rank_map import Rank, RankMap


def default_rank_map(world_size: int, gpus: int, cores: dict[int, list[int]]) -> RankMap:
    """The map for ``world_size`` ranks.

    Args:
        world_size: Number of ranks.
        gpus: Visible CUDA devices.
        cores: One logical CPU per usable physical core, by NUMA node.
    """
    nodes = sorted(cores)
    cpu_ranks = max(0, world_size - gpus)
    ranks = [Rank(rank=i, device=f"cuda:{i}") for i in range(min(gpus, world_size))]
    others = -(-(1 + len(ranks)) // len(nodes))
    for position in range(cpu_ranks):
        node = nodes[position % len(nodes)]
        sharers = len(range(position % len(nodes), cpu_ranks, len(nodes)))
        part = share(compute_cores(cores[node], others), sharers, position // len(nodes))
        ranks.append(Rank(rank=len(ranks), device="cpu", cpus=tuple(part), numa_node=node))
    return RankMap(tuple(ranks))


def compute_cores(cores: list[int], others: int = 1) -> list[int]:
    """What is left for compute threads when ``others`` processes that poll have a core each.

    These are the engine and the GPU ranks: two of them on one core, or one on a core that
    computes, cost a decode step some milliseconds. They get a quarter of the cores at most.
    """
    return cores[min(others, len(cores) // 4) :]


def share(cores: list[int], sharers: int, index: int) -> list[int]:
    """The ``index``-th of ``sharers`` contiguous, nearly equal parts; never empty."""
    if sharers > len(cores):
        return [cores[index % len(cores)]]
    first = len(cores) * index // sharers
    return cores[first : len(cores) * (index + 1) // sharers]
