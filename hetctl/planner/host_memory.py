"""The host memory that GPUs stream weights from, and what it leaves of their links.

Links of several GPUs add up as far as the memory that they end at can be read: a NUMA node's
DRAM read rate bounds what its GPUs stream together. What a node has no room for lies on others, and
comes at the rate at which that is read across.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from hetctl.document import Figure, Source
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.planner.rates import KernelRates, weakest

if TYPE_CHECKING:
    from hetctl.planner.device import Device


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Where a GPU's link ends. Rates are in bytes per second."""

    node: int | None
    """None where it is not known: all nodes together."""
    read_bytes_per_s: float = inf
    """Infinite where it is not known."""
    far_read_bytes_per_s: float = inf
    """Of memory on other nodes."""
    free_bytes: int = 0
    """For weights."""
    source: Source = "measured"


def host_memory_of(gpu: Gpu, machine: Machine, reserve_bytes: int) -> HostMemory:
    """Of the node that ``gpu`` is attached to.

    Args:
        reserve_bytes: Kept free on each node.
    """

    def room(node: NumaNode) -> int:
        return max(0, node.memory_free_bytes - reserve_bytes)

    near = next((node for node in machine.numa_nodes if node.id == gpu.numa_node), None)
    if near is None:
        rates = [node.memory_read_bytes_per_s for node in machine.numa_nodes]
        known = [rate for rate in rates if rate is not None]
        whole = bool(known) and len(known) == len(rates)
        return HostMemory(
            node=None,
            read_bytes_per_s=sum(rate.value for rate in known) if whole else inf,
            free_bytes=sum(map(room, machine.numa_nodes)),
            source=weakest([rate.source for rate in known] or ["measured"]),
        )
    read = near.memory_read_bytes_per_s
    return HostMemory(
        node=near.id,
        read_bytes_per_s=read.value if read else inf,
        far_read_bytes_per_s=_far_rate(near, machine),
        free_bytes=room(near),
        source=read.source if read else "measured",
    )


def _far_rate(near: NumaNode, machine: Machine) -> float:
    """As it was measured; else no slower than those nodes read their own."""
    across = near.memory_read_bytes_per_s_by_node.values()
    own: list[Figure | None] = [
        node.memory_read_bytes_per_s for node in machine.numa_nodes if node is not near
    ]
    return min((rate.value for rate in (*across, *own) if rate is not None), default=inf)


def streaming_at_once(gpus: Sequence["Device"], bytes_each: float) -> tuple["Device", ...]:
    """``gpus`` with the rates that their links have left when all of them stream.

    Args:
        bytes_each: Of weights in host memory, for each GPU.
    """
    return tuple(
        replace(
            gpu,
            rates=with_link(
                gpu.rates,
                _rate(gpu, [other for other in gpus if _node(other) == _node(gpu)], bytes_each),
                gpu.host.source if gpu.host else "measured",
            ),
        )
        for gpu in gpus
    )


def with_link(rates: KernelRates, bytes_per_s: float, source: Source) -> KernelRates:
    """``rates`` of a GPU whose link is held to ``bytes_per_s``, by something of ``source``."""
    link, busy, sources = rates.host_copy_bytes_per_s, rates.while_cpu_reads, rates.sources
    if busy is not None:
        rates = replace(rates, while_cpu_reads=with_link(busy, bytes_per_s, source))
    if bytes_per_s >= link:
        return rates
    return replace(
        rates,
        host_copy_bytes_per_s=bytes_per_s,
        uva_read=rates.uva_read and rates.uva_read.scaled(bytes_per_s / link),
        sources=replace(
            sources,
            host_copy=weakest([sources.host_copy, source]),
            uva_read=weakest([sources.uva_read, source]),
        ),
    )


def _node(gpu: "Device") -> int | None:
    return gpu.host.node if gpu.host else None


def _rate(gpu: "Device", beside: Sequence["Device"], bytes_each: float) -> float:
    """Of one link, where all of ``beside`` stream from the same node."""
    link, host = gpu.rates.host_copy_bytes_per_s, gpu.host
    if host is None:
        return link
    links = sum(other.rates.host_copy_bytes_per_s for other in beside)
    near = link * min(1.0, host.read_bytes_per_s / links)
    wanted = bytes_each * len(beside)
    share = min(1.0, host.free_bytes / wanted) if wanted else 1.0
    if share == 1:
        return near
    far = min(near, host.far_read_bytes_per_s / len(beside))
    return 1 / (share / near + (1 - share) / far)


def beside_one_another(devices: Sequence["Device"], streaming: bool) -> list["Device"]:
    """``devices`` with the rates that they have while the others of an engine work, too.

    GPUs alone, and CPUs alone, do not disturb one another: each has its own memory.

    Args:
        streaming: The GPUs stream weights.
    """
    gpus = [device for device in devices if device.kind == "cuda"]
    if len(gpus) in (0, len(devices)):
        return list(devices)
    copying = {gpu.name: _while_reading(gpu, streaming) for gpu in gpus}
    return [
        replace(device, rates=copying[device.name])
        if device.kind == "cuda"
        else replace(device, rates=_while_copying(device, gpus, copying))
        if streaming
        else device
        for device in devices
    ]


def _while_reading(gpu: "Device", streaming: bool) -> KernelRates:
    """Of a GPU while a CPU rank reads memory: measured, or half of what the memory can give."""
    rates = gpu.rates.while_cpu_reads or gpu.rates
    if gpu.rates.while_cpu_reads is not None or not streaming or gpu.host is None:
        return rates
    return with_link(rates, gpu.host.read_bytes_per_s / 2, "estimate")


def _while_copying(
    cpu: "Device", gpus: Sequence["Device"], copying: dict[str, KernelRates]
) -> KernelRates:
    """Of a CPU rank while GPUs stream: measured, or what they leave of its node's memory."""
    share = cpu.rates.while_copying
    if not share:
        near = [gpu for gpu in gpus if gpu.host and gpu.host.node in (None, cpu.numa_node)]
        copies = sum(copying[gpu.name].host_copy_bytes_per_s for gpu in near)
        read = max((gpu.host.read_bytes_per_s for gpu in near if gpu.host), default=inf)
        share = max(0.5, 1 - copies / read)
    rates = cpu.rates
    return replace(
        rates,
        weight_read=rates.weight_read.scaled(share),
        attention_read=rates.attention_read.scaled(share),
    )
