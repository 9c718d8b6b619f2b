"""NUMA nodes: which cores and how much memory belong together."""

from collections.abc import Mapping

from hetctl.machine import Gpu, NumaNode
from hetctl.probe.cgroup import Cgroup
from hetctl.probe.cpu_list import format_cpu_list, parse_cpu_list
from hetctl.probe.files import Files
from hetctl.probe.memory import NodeMemory, limit_free, read_machine_memory, read_node_memory
from hetctl.probe.topology import Topology
from hetctl.units import format_bytes

_NODES = "/sys/devices/system/node"


def read_numa_nodes(
    files: Files,
    topology: Topology,
    cgroup: Cgroup,
    gpus: tuple[Gpu, ...],
    notes: list[str],
) -> tuple[NumaNode, ...]:
    """The host's NUMA nodes: those with CPUs, and those with memory alone (CXL).

    A machine that shows no nodes is one node. A node that is a GPU's own memory is left
    out: host processes could bind to it, and would take the GPU's memory.

    Args:
        gpus: All GPUs of the machine, visible to CUDA or not.
        notes: Collects a sentence for what could not be found out.
    """
    listed = _listed_nodes(files)
    if not listed:
        notes.append("The kernel shows no NUMA topology; the machine is treated as one node.")
    of_gpus = {gpu.memory_numa_node for gpu in gpus} & set(listed)
    hosts = tuple(node for node in listed if node not in of_gpus)
    cpus = _cpus(files, hosts, topology)
    memory = _memory(files, hosts, cgroup, sees_gpu_memory=bool(of_gpus), notes=notes)
    kept = [node for node in cpus if cpus[node] or memory[node].total_bytes]
    distances = {node: _distances(files, node, listed) for node in kept}
    return tuple(
        NumaNode(
            id=node,
            cores=tuple(core for core in topology.cores if cpus[node].issuperset(core.cpus)),
            memory_total_bytes=memory[node].total_bytes,
            memory_free_bytes=memory[node].free_bytes,
            hugepages_total=memory[node].huge_pages.total,
            hugepages_free=memory[node].huge_pages.free,
            hugepage_size_bytes=memory[node].huge_pages.size_bytes,
            distances={other: distances[node][other] for other in kept if other in distances[node]},
            logical_cpus_online=len(cpus[node]),
        )
        for node in kept
    )


def _listed_nodes(files: Files) -> tuple[int, ...]:
    if online := files.text(f"{_NODES}/online"):
        return parse_cpu_list(online)
    names = (name.removeprefix("node") for name in files.names(_NODES) if name.startswith("node"))
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def _cpus(files: Files, nodes: tuple[int, ...], topology: Topology) -> dict[int, frozenset[int]]:
    """Online CPUs of each node."""
    online = frozenset(topology.online)
    if not nodes:
        return {0: online}
    return {
        node: online & set(parse_cpu_list(files.text(f"{_NODES}/node{node}/cpulist") or ""))
        for node in nodes
    }


def _memory(
    files: Files,
    nodes: tuple[int, ...],
    cgroup: Cgroup,
    *,
    sees_gpu_memory: bool,
    notes: list[str],
) -> Mapping[int, NodeMemory]:
    """Memory of each node, and what of it may be taken."""
    machine = read_machine_memory(files)
    if sees_gpu_memory:
        # /proc/meminfo then counts the GPUs' memory as well and says nothing of the host's.
        memory = {node: read_node_memory(files, node) for node in nodes}
        limits = [cgroup.memory_headroom_bytes]
    elif len(nodes) <= 1:
        # Some virtual machines are given memory as they use it: their node then says what
        # is there now, and /proc/meminfo what they will get.
        memory = dict.fromkeys(nodes or (0,), machine)
        limits = [cgroup.memory_headroom_bytes]
    else:
        memory = {node: read_node_memory(files, node) for node in nodes}
        limits = [cgroup.memory_headroom_bytes, machine.free_bytes]
        _note_missing_memory(memory, machine, notes)
    if not machine.total_bytes:
        notes.append("The kernel does not tell how much memory there is (/proc/meminfo).")
    allowed = cgroup.memory_nodes
    denied = [node for node in memory if allowed is not None and node not in allowed]
    if denied and len(denied) < len(memory):
        notes.append(
            f"The cpuset forbids memory of NUMA node {format_cpu_list(denied)}; "
            "none of it is counted as free."
        )
        for node in denied:
            memory[node] = NodeMemory(memory[node].total_bytes, 0, memory[node].huge_pages)
    return limit_free(memory, limits)


def _note_missing_memory(
    memory: Mapping[int, NodeMemory], machine: NodeMemory, notes: list[str]
) -> None:
    listed = sum(node.total_bytes for node in memory.values())
    if listed < 0.95 * machine.total_bytes:
        notes.append(
            f"The NUMA nodes report {format_bytes(listed)} of the machine's "
            f"{format_bytes(machine.total_bytes)}; a virtual machine may be given the rest "
            "later, so plans count on the smaller figure."
        )


def _distances(files: Files, node: int, listed: tuple[int, ...]) -> dict[int, int]:
    """Distance to every listed node; a machine without the file is one node."""
    row = (files.text(f"{_NODES}/node{node}/distance") or "").split()
    if not row or len(row) != len(listed):
        return {node: 10}
    return dict(zip(listed, map(int, row), strict=True))
