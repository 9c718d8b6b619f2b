"""Rates of known hardware: fills in what a probe does not measure.

The numbers are data, in ``profiles/*.toml``, each with where it comes from. This package
finds the entry of a device and says which part of it this machine can use.
"""

from hetctl.machine import Machine
from hetctl.profiles.cpu_rates import node_with_rates
from hetctl.profiles.data import load_cpu_data, load_gpu_data
from hetctl.profiles.gpu_rates import gpu_with_rates

__all__ = ["with_rates"]


def with_rates(machine: Machine) -> Machine:
    """The machine with every missing rate filled in; rates that it has are kept.

    A rate of a known device has the source ``datasheet``. Any other has the source
    ``estimate`` and a note that says how it was derived. A NUMA node without usable cores
    gets no rates, since nothing can compute there.

    Raises:
        HetctlError: the data files are missing or malformed.
    """
    gpu_data, cpu_data = load_gpu_data(), load_cpu_data()
    return machine.model_copy(
        update={
            "gpus": tuple(gpu_with_rates(gpu, gpu_data) for gpu in machine.gpus),
            "numa_nodes": tuple(
                node_with_rates(node, machine, cpu_data) for node in machine.numa_nodes
            ),
        }
    )
