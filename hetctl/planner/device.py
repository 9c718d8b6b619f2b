"""The devices of a machine as ranks could use them: limits, rates, CPU sets."""

from dataclasses import dataclass
from typing import Literal

from hetctl.document import Figure
from hetctl.errors import UsageError
from hetctl.machine import Core, Gpu, Machine, NumaNode
from hetctl.model.spec import Dtype
from hetctl.planner.host_memory import HostMemory, host_memory_of, with_link
from hetctl.planner.rates import KernelRates, gpu_rates, node_rates
from hetctl.planner.request import PlanRequest
from hetctl.units import GIB

Kind = Literal["cuda", "cpu"]

# Kept free on each NUMA node for the operating system, the API server and the engine's
# own process (about 1 GiB of resident memory each; vLLM's CPU guide asks to leave some).
CPU_RESERVE_BYTES = 2 * GIB

# The engine and the GPU ranks poll, and a compute thread on a core with one of them is waited for
# by all others (vLLM issue 25818). They get this part of a node's cores at most.
_SHARE_OF_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Device:
    """One device that one rank may run on. Rates are the rank's share of the device."""

    name: str
    kind: Kind
    memory_limit_bytes: int
    rates: KernelRates
    """Devices of equal rates are equally fast."""
    numa_node: int | None = None
    cpus: tuple[int, ...] = ()
    memory_total_bytes: int = 0
    label: str = ""
    """Name for people: ``cuda:0``, or ``cpu`` with its NUMA node."""
    host: HostMemory | None = None
    """Of a GPU: where its link ends."""


def gpu_device(
    gpu: Gpu, request: PlanRequest, dtype: Dtype, machine: Machine | None = None
) -> Device:
    """A GPU under the request's memory limit.

    vLLM takes ``gpu_memory_utilization`` of the *total* and refuses to start when less
    than that is free (``vllm/v1/worker/utils.py: request_memory``), so the limit is the
    smaller of that and what is free.

    Args:
        machine: That it is in: weights do not come over the link faster than its memory reads.

    Raises:
        UsageError: a rate is missing, or the GPU cannot run ``dtype``.
    """
    name = f"cuda:{gpu.index}"
    capability = gpu.compute_capability
    if dtype == "bfloat16" and capability is not None and capability < (8, 0):
        raise UsageError(
            f"{name} ({gpu.name}) has compute capability {capability[0]}.{capability[1]} and "
            f"bfloat16 needs 8.0; add --dtype float16, or leave it out with --devices."
        )
    total = min(gpu.memory_total_bytes, request.gpu_memory_bytes or gpu.memory_total_bytes)
    figures = {
        "memory_read_bytes_per_s": gpu.memory_read_bytes_per_s,
        "matmul_bf16_flops": gpu.matmul_bf16_flops,
        "host_to_device_bytes_per_s": gpu.host_to_device_bytes_per_s,
    }
    read, matmul, link = (
        _rate(figure, name, f"gpus.{gpu.index}.{field}") for field, figure in figures.items()
    )
    rates = gpu_rates(gpu, read, matmul, link, dtype)
    host = None if machine is None else host_memory_of(gpu, machine, CPU_RESERVE_BYTES)
    if host is not None:
        rates = with_link(rates, host.read_bytes_per_s, host.source)
    return Device(
        name=name,
        kind="cuda",
        memory_limit_bytes=max(
            1, min(int(total * request.gpu_memory_utilization), gpu.memory_free_bytes)
        ),
        rates=rates,
        numa_node=None,
        memory_total_bytes=gpu.memory_total_bytes,
        label=name,
        host=host,
    )


def cpu_devices(
    machine: Machine, ranks: int | None, dtype: Dtype, gpus: int = 0
) -> tuple[Device, ...]:
    """CPU ranks, in NUMA order: ``ranks`` of them, or one per node with cores.

    Ranks that outnumber the nodes share nodes evenly; a node's cores, memory and rates
    are divided among its ranks. Ranks that outnumber the cores take turns on them, which
    stages of a pipeline do anyway.

    Args:
        gpus: How many GPUs may be used beside them, whose ranks need cores, too.

    Raises:
        UsageError: a rate is missing.
    """
    nodes = _nodes_near_gpus_first(machine)
    if ranks == 0 or not nodes:
        return ()
    threads = {node.id: thread_cores(node, machine, gpus) for node in nodes}
    wanted = len(nodes) if ranks is None else ranks
    shares = {
        node.id: wanted // len(nodes) + (i < wanted % len(nodes)) for i, node in enumerate(nodes)
    }
    nodes = sorted(nodes, key=lambda node: node.id)
    return tuple(
        _cpu_device(node, cores, shares[node.id], dtype)
        for node in nodes
        for cores in _divided(threads[node.id], shares[node.id])
    )


def streamable_bytes(machine: Machine) -> int:
    """Host memory that vLLM may pin for weights, on all nodes together."""
    return sum(max(0, node.memory_free_bytes - CPU_RESERVE_BYTES) for node in machine.numa_nodes)


def usable_cores(machine: Machine) -> int:
    """Cores that CPU ranks without GPUs may have in all: the most ranks that there can be."""
    return sum(len(thread_cores(node, machine, 0)) for node in machine.numa_nodes if node.cores)


def _cpu_device(node: NumaNode, cores: list[Core], ranks: int, dtype: Dtype) -> Device:
    where = f"NUMA node {node.id}"
    field = f"numa_nodes.{node.id}"
    read = _rate(node.memory_read_bytes_per_s, where, f"{field}.memory_read_bytes_per_s")
    matmul = _rate(node.matmul_bf16_flops, where, f"{field}.matmul_bf16_flops")
    # A node's figures are those of all its cores, or of as many as were measured. A core less
    # costs about its share: 12 of 16 threads read weights at 0.8 of the rate (on a Xeon with AMX).
    share = len(cores) / (node.rate_cores or len(node.cores))
    return Device(
        name="cpu",
        kind="cpu",
        memory_limit_bytes=max(1, (node.memory_free_bytes - CPU_RESERVE_BYTES) // ranks),
        rates=node_rates(node, read, matmul, share, dtype),
        numa_node=node.id,
        # One thread per physical core: SMT siblings share the units that do the work.
        cpus=tuple(min(core.cpus) for core in cores),
        memory_total_bytes=node.memory_total_bytes,
        label=f"cpu (node {node.id})",
    )


def thread_cores(node: NumaNode, machine: Machine, gpus: int) -> list[Core]:
    """The node's cores that compute threads may take, within the cgroup's CPU quota.

    The runtime counts alike (``compute_cores`` in ``vllm_hetero/default_map.py``, which says why).

    Args:
        gpus: GPU ranks that may run beside them.
    """
    cores = sorted((core for core in node.cores if core.cpus), key=lambda core: min(core.cpus))
    nodes = sum(1 for other in machine.numa_nodes if other.cores)
    others = -(-(1 + gpus) // max(1, nodes))
    cores = cores[min(others, len(cores) // _SHARE_OF_OTHERS) :]
    quota = machine.cpu.cpu_quota
    if quota is not None:
        everywhere = sum(len(other.cores) for other in machine.numa_nodes)
        # More threads than the quota's CPUs are throttled all at once, mid-barrier.
        cores = cores[: max(1, int(quota * len(node.cores) / everywhere))]
    return cores


def _nodes_near_gpus_first(machine: Machine) -> list[NumaNode]:
    near = {gpu.numa_node for gpu in machine.gpus}
    nodes = [node for node in machine.numa_nodes if node.cores]
    return sorted(nodes, key=lambda node: (node.id not in near, node.id))


def _divided(cores: list[Core], parts: int) -> list[list[Core]]:
    """Equal, contiguous parts. Cores that remain stay idle: ranks of one node are alike, or
    the layers would all go to the one with a core more. With more parts than cores, each
    part is one core."""
    if parts > len(cores):
        return [[cores[i % len(cores)]] for i in range(parts)]
    size = len(cores) // parts if parts else 0
    return [cores[i * size : (i + 1) * size] for i in range(parts)]


def _rate(figure: Figure | None, where: str, field: str) -> Figure:
    if figure is None:
        raise UsageError(
            f"The machine document has no {field}, and without it the speed of {where} "
            f"cannot be predicted; run `hetctl probe` again, or write the figure in."
        )
    return figure
