"""Which CPUs each process of an engine gets, from the rank map and the machine.

Pure functions of what :mod:`vllm_hetero.topology` finds.
"""

from collections.abc import Iterator
from dataclasses import replace

from vllm_hetero.default_map import compute_cores, share
from vllm_hetero.rank_map import Rank, RankMap, RankMapError
from vllm_hetero.rank_table import cpu_ranges

Nodes = dict[int, list[int]]
"""CPUs by NUMA node."""


def check_cpus(ranks: RankMap, nodes: Nodes, allowed: set[int]) -> list[str]:
    """Refuse CPUs and nodes that cannot be had; one warning for each odd choice.

    CPUs beside the node of the memory are slow, yet right where a node has memory and no
    CPUs (HBM or CXL), so that is a warning.

    Args:
        ranks: The map.
        nodes: All CPUs of the machine, by node.
        allowed: CPUs that this process may use.

    Raises:
        RankMapError: a rank names a node or CPUs that this machine or process lacks.
    """
    warnings = []
    for rank in ranks.ranks:
        node = rank.numa_node
        if node is not None and node not in nodes:
            raise RankMapError(
                f"rank {rank.rank} is on NUMA node {node}, but this machine has "
                f"{', '.join(map(str, sorted(nodes)))}; change numa_node"
            )
        if missing := tuple(sorted(set(rank.cpus) - allowed)):
            raise RankMapError(
                f"rank {rank.rank} names CPUs {cpu_ranges(missing)}, but this process may use "
                f"{cpu_ranges(tuple(allowed))}; change cpus, or the CPU set it runs in"
            )
        if node is not None and (remote := tuple(sorted(set(rank.cpus) - set(nodes[node])))):
            warnings.append(
                f"Rank {rank.rank} reads its weights from NUMA node {node} on CPUs "
                f"{cpu_ranges(remote)}, which are not on that node; this is slower unless node "
                f"{node} has faster memory."
            )
    return warnings


def with_cpus(ranks: RankMap, cores: Nodes, quota: float | None = None) -> RankMap:
    """``ranks``, where each CPU rank that names a node and no CPUs has cores of that node.

    Cores that other ranks name are left to them while any others remain.

    Args:
        ranks: The map.
        cores: One CPU per usable core, by node.
        quota: CPUs' worth of time that this process may take; None without a limit.
    """
    computing = compute_cores(cores, len(ranks.gpu_ranks), quota)
    named = {cpu for rank in ranks.ranks for cpu in rank.cpus}
    waiting: dict[int, list[int]] = {}
    for rank in ranks.ranks:
        if rank.is_cpu and not rank.cpus and rank.numa_node in cores:
            waiting.setdefault(rank.numa_node, []).append(rank.rank)
    given: dict[int, tuple[int, ...]] = {}
    for node, sharers in waiting.items():
        free = [cpu for cpu in cores[node] if cpu not in named]
        # Cores are left to the engine once: not if the ranks that name theirs left some.
        usable = computing[node] if free in ([], cores[node]) else free
        for index, rank_number in enumerate(sharers):
            given[rank_number] = tuple(share(usable, len(sharers), index))
    return RankMap(tuple(replace(r, cpus=given.get(r.rank, r.cpus)) for r in ranks.ranks))


def memory_nodes(rank: Rank, cores: Nodes, nodes: Nodes) -> tuple[int, ...]:
    """The nodes that a CPU rank's memory comes from.

    Args:
        rank: Its place in the map.
        cores: One CPU per usable core, by node.
        nodes: All CPUs of the machine, by node.
    """
    if rank.numa_node is not None:
        return (rank.numa_node,)
    computing = set(rank.cpus) or {cpu for there in cores.values() for cpu in there}
    return tuple(node for node in sorted(nodes) if computing & set(nodes[node]))


def other_cpus(
    ranks: RankMap, cores: list[tuple[int, ...]], allowed: set[int], more: int = 0
) -> set[int]:
    """Where the engine and the GPU ranks run: away from the CPU ranks, where there is room.

    There is room when each of them can have a CPU; crowded on fewer they would wait for each
    other, which costs more than what they take from the CPU ranks. CPUs on cores of their
    own come first, then siblings of cores that compute.

    Args:
        ranks: The map.
        cores: The CPUs of each physical core.
        allowed: CPUs that this process may use.
        more: How many CPUs there must be beyond that, for others who want to run there, too.

    Returns:
        The CPUs, or none when there is no room.
    """
    computing = {cpu for rank in ranks.ranks for cpu in rank.cpus}
    if not computing:
        return set()
    needed = 1 + len(ranks.gpu_ranks) + more
    for cpus in (_idle_cores(cores, computing), (cpu for core in cores for cpu in core)):
        found = set(cpus) & allowed - computing
        if len(found) >= needed:
            return found
    return set()


def _idle_cores(cores: list[tuple[int, ...]], computing: set[int]) -> Iterator[int]:
    return (cpu for core in cores if not computing & set(core) for cpu in core)
