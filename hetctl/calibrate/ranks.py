"""Which ranks measure a machine: one per GPU, and one per NUMA node with usable cores."""

from dataclasses import dataclass

from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.planner.device import thread_cores
from hetctl.units import GIB, MIB
from vllm_hetero.default_map import share
from vllm_hetero.rank_map import Rank, RankMap

_LEAST_BYTES = 256 * MIB
_MOST_BYTES = 4 * GIB
_CACHES = 4
"""Buffers are so many times the size of the largest cache."""


@dataclass(frozen=True, eq=False)
class MeasuredRank:
    """A device, and the rank that measures it.

    Attributes:
        name: For people: ``cuda:0``, ``node 0``.
        device: What is measured; None for a rank that only talks to another.
        number: Of the rank in its map.
        buffer_bytes: Memory that a measurement may take there.
    """

    name: str
    device: Gpu | NumaNode | None
    number: int
    buffer_bytes: int


@dataclass(frozen=True)
class Ranks:
    """The ranks that measure, and the two that pass messages where there is only one device.

    Attributes:
        map: Of the ranks that measure.
        gpus, nodes: Those ranks.
        halves: Ranks of ``halves_map``, which divide the only node's cores; empty where there
            are two devices, or the node has one core.
    """

    map: RankMap
    gpus: tuple[MeasuredRank, ...]
    nodes: tuple[MeasuredRank, ...]
    halves_map: RankMap
    halves: tuple[MeasuredRank, ...]

    @property
    def all(self) -> tuple[MeasuredRank, ...]:
        return (*self.gpus, *self.nodes)

    def near(self, node: MeasuredRank) -> MeasuredRank:
        """The GPU that is attached to a node, or else the first."""
        assert isinstance(node.device, NumaNode)
        attached = [
            gpu
            for gpu in self.gpus
            if isinstance(gpu.device, Gpu) and gpu.device.numa_node == node.device.id
        ]
        return (attached or list(self.gpus))[0]


def ranks_of(machine: Machine) -> Ranks:
    """The ranks for ``machine``, this one. Nodes get the cores that a plan would give them."""
    nodes = [node for node in machine.numa_nodes if node.cores]
    entries = [Rank(i, f"cuda:{i}") for i in range(len(machine.gpus))]
    entries += [_rank(len(entries) + i, node, machine) for i, node in enumerate(nodes)]
    measured = [
        MeasuredRank(f"cuda:{gpu.index}", gpu, i, min(_MOST_BYTES, gpu.memory_free_bytes // 4))
        for i, gpu in enumerate(machine.gpus)
    ]
    measured += [
        MeasuredRank(f"node {node.id}", node, len(measured) + i, _buffer_bytes(node, machine))
        for i, node in enumerate(nodes)
    ]
    halves: tuple[Rank, ...] = ()
    if len(entries) == 1 and not machine.gpus and len(entries[0].cpus) > 1:
        cpus, node_id = list(entries[0].cpus), entries[0].numa_node
        halves = tuple(
            Rank(i, "cpu", cpus=tuple(share(cpus, 2, i)), numa_node=node_id) for i in range(2)
        )
    return Ranks(
        map=RankMap(tuple(entries)),
        gpus=tuple(measured[: len(machine.gpus)]),
        nodes=tuple(measured[len(machine.gpus) :]),
        halves_map=RankMap(halves),
        halves=tuple(MeasuredRank(f"cpu rank {i}", None, i, 0) for i in range(len(halves))),
    )


def _rank(number: int, node: NumaNode, machine: Machine) -> Rank:
    cpus = tuple(min(core.cpus) for core in thread_cores(node, machine, len(machine.gpus)))
    return Rank(number, "cpu", cpus=cpus, numa_node=node.id)


def _buffer_bytes(node: NumaNode, machine: Machine) -> int:
    """Well beyond the caches, and a part of what is free."""
    caches = max(
        (cache.size_bytes * cache.instances for cache in machine.cpu.caches if cache.level >= 3),
        default=0,
    )
    wanted = max(GIB, min(_MOST_BYTES, _CACHES * caches))
    return max(_LEAST_BYTES, min(wanted, node.memory_free_bytes // 6))
