"""The fingerprint: equal for two probes whose measurements may be compared.

It holds what changes how fast a model runs: the CPU and its instruction sets, the cores of
each NUMA node that may be used, the cgroup's CPU quota, and each GPU's name, memory, PCIe
and MIG mode. It leaves out

* what changes from minute to minute (free memory, clocks, the current PCIe generation);
* what names one machine among equals (host name, UUIDs, bus ids), so that a fleet of equal
  machines shares measurements;
* the size of host memory: some virtual machines are given memory as they use it, so that
  two probes of one machine differ, and it says whether a model fits but not how fast it
  runs.
"""

import hashlib
import json

from hetctl.machine import Cpu, Gpu, NumaNode
from hetctl.units import GIB

_DIGITS = 12


def fingerprint(cpu: Cpu, numa_nodes: tuple[NumaNode, ...], gpus: tuple[Gpu, ...]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the stable facts."""
    facts = {
        "cpu": [cpu.model, cpu.architecture, cpu.isa, cpu.cpu_quota],
        "nodes": [[len(node.cores), len(node.cpus)] for node in numa_nodes if node.cores],
        "gpus": [
            [
                gpu.name,
                round(gpu.memory_total_bytes / GIB),
                gpu.pcie and [gpu.pcie.generation_max, gpu.pcie.width_max],
                gpu.mig_enabled,
            ]
            for gpu in gpus
        ],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:_DIGITS]
