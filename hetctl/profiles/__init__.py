"""Rates of known hardware: fills in what a probe does not measure.

The numbers are data, in ``profiles/*.toml``, each with where it comes from. This package
finds the entry of a device and says which part of it this machine can use.
"""

from hetctl.machine import Gpu, Machine, NumaNode

__all__ = ["with_rates"]


def with_rates(machine: Machine) -> Machine:
    """The machine with every missing rate filled in; rates that it has are kept.

    A rate of a known device has the source ``datasheet``. Any other has the source
    ``estimate`` and a note that says how it was derived. A NUMA node without usable cores
    gets no rates, since nothing can compute there.

    Raises:
        HetctlError: the data files are missing or malformed.
    """
    return machine.model_copy(update={"gpus": _gpus(machine), "numa_nodes": _nodes(machine)})


# The data is read only where a rate is missing: to parse it takes as long as to plan.


def _gpus(machine: Machine) -> tuple[Gpu, ...]:
    if all(
        gpu.memory_read_bytes_per_s and gpu.matmul_bf16_flops and gpu.host_to_device_bytes_per_s
        for gpu in machine.gpus
    ):
        return machine.gpus
    from hetctl.profiles.data import load_gpu_data
    from hetctl.profiles.gpu_rates import gpu_with_rates

    data = load_gpu_data()
    return tuple(gpu_with_rates(gpu, data) for gpu in machine.gpus)


def _nodes(machine: Machine) -> tuple[NumaNode, ...]:
    nodes = machine.numa_nodes
    if all(node.memory_read_bytes_per_s and node.matmul_bf16_flops for node in nodes if node.cores):
        return nodes
    from hetctl.profiles.cpu_rates import node_with_rates
    from hetctl.profiles.data import load_cpu_data

    data = load_cpu_data()
    return tuple(node_with_rates(node, machine, data) for node in nodes)
