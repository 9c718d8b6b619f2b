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
    for position in range(cpu_ranks):
        node = nodes[position % len(nodes)]
        sharers = len(range(position % len(nodes), cpu_ranks, len(nodes)))
        part = share(compute_cores(cores[node]), sharers, position // len(nodes))
        ranks.append(Rank(rank=len(ranks), device="cpu", cpus=tuple(part), numa_node=node))
    return RankMap(tuple(ranks))


def compute_cores(cores: list[int]) -> list[int]:
    """Leave one core to the engine, which polls, where a node has more than three."""
    return cores[1:] if len(cores) > 3 else cores


def share(cores: list[int], sharers: int, index: int) -> list[int]:
    """The ``index``-th of ``sharers`` contiguous, nearly equal parts; never empty."""
    if sharers > len(cores):
        return [cores[index % len(cores)]]
    first = len(cores) * index // sharers
    return cores[first : len(cores) * (index + 1) // sharers]
