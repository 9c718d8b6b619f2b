"""A NUMA node's rates: its part of the socket, and what its usable cores can draw."""

from hetctl.document import Figure
from hetctl.machine import Machine, NumaNode
from hetctl.profiles.data import CpuData
from hetctl.units import format_rate


def node_with_rates(node: NumaNode, machine: Machine, data: CpuData) -> NumaNode:
    """The node with every missing rate filled in; unchanged if it has no usable core."""
    if not node.cores:
        return node
    return node.model_copy(
        update={
            "memory_read_bytes_per_s": node.memory_read_bytes_per_s
            or _memory_read(node, machine, data),
            "matmul_bf16_flops": node.matmul_bf16_flops or _matmul(node, machine, data),
        }
    )


def _memory_read(node: NumaNode, machine: Machine, data: CpuData) -> Figure:
    """The lower of what the node's channels give and what its cores can take."""
    model = machine.cpu.model
    listed = next((entry for entry in data.cpu if entry.matches(model)), None)
    entry = listed or next(entry for entry in data.memory.unknown if entry.matches(model))
    nodes_per_socket = _nodes_per_socket(machine)
    reachable = data.memory.reachable
    channels = entry.memory_peak_bytes_per_s * reachable / nodes_per_socket
    cores = _busy_cores(node, machine)
    drawn = entry.core_read_bytes_per_s * cores
    known = entry.origin if listed else f"{model!r} is not in the data, assumed {entry.origin}"
    if drawn < channels:
        note = f"{cores:g} usable cores x {format_rate(entry.core_read_bytes_per_s)} ({known})"
        return Figure(value=drawn, source="estimate", note=note)
    note = f"{known}; {reachable:.0%} of {format_rate(entry.memory_peak_bytes_per_s)} per socket"
    if nodes_per_socket > 1:
        note += f", over {nodes_per_socket:g} nodes"
    return Figure(value=channels, source="datasheet" if listed else "estimate", note=note)


def _matmul(node: NumaNode, machine: Machine, data: CpuData) -> Figure:
    entry = next(entry for entry in data.matmul if not entry.isa or entry.isa in machine.cpu.isa)
    cores = _busy_cores(node, machine)
    note = f"{cores:g} cores x {entry.flops_per_core / 1e9:g} GFLOP/s ({entry.origin})"
    return Figure(value=entry.flops_per_core * cores, source="estimate", note=note)


def _nodes_per_socket(machine: Machine) -> float:
    """More than 1 where a socket is divided (sub-NUMA clustering, NPS)."""
    # A node whose CPUs this process may not use still has its share of the channels.
    nodes = [node for node in machine.numa_nodes if node.logical_cpus_online or node.cores]
    return max(1.0, len(nodes) / machine.cpu.sockets)


def _busy_cores(node: NumaNode, machine: Machine) -> float:
    """Usable cores of the node that the cgroup's CPU quota can keep busy."""
    usable = sum(len(other.cores) for other in machine.numa_nodes)
    quota = machine.cpu.cpu_quota
    share = 1.0 if quota is None else min(1.0, quota / usable)
    return len(node.cores) * share
