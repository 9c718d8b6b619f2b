"""The probe itself: reads every source and puts the :class:`Machine` together."""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from hetctl.errors import HetctlError
from hetctl.machine import Machine
from hetctl.probe.cgroup import read_cgroup
from hetctl.probe.container import in_container
from hetctl.probe.cpu import read_cpu
from hetctl.probe.cpuinfo import FlagSource, flags_from_py_cpuinfo, read_processors
from hetctl.probe.files import Files
from hetctl.probe.fingerprint import fingerprint
from hetctl.probe.gpu import GpuLibrary, read_inventory, visible_gpus
from hetctl.probe.numa import read_numa_nodes
from hetctl.probe.nvml import NvmlLibrary
from hetctl.probe.topology import read_topology


@dataclass(frozen=True)
class Sources:
    """Where the facts come from; a test replaces each by a recording."""

    affinity: frozenset[int]
    """CPUs that the scheduler lets this process run on."""
    files: Files = field(default_factory=Files)
    gpu_library: GpuLibrary = field(default_factory=NvmlLibrary)
    environment: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "x86_64"
    fallback_flags: FlagSource = flags_from_py_cpuinfo

    @classmethod
    def of_this_machine(cls) -> "Sources":
        """The running system.

        Raises:
            HetctlError: the system is not Linux.
        """
        if sys.platform != "linux":
            raise HetctlError(
                f"hetctl can only probe Linux, and this is {sys.platform}; probe the machine "
                "that will serve, with --save FILE, and bring the file here."
            )
        return cls(
            affinity=frozenset(os.sched_getaffinity(0)),
            environment=os.environ,
            architecture=platform.machine(),
        )


def probe_machine(sources: Sources | None = None) -> Machine:
    """Find out what the machine is.

    Takes well under a second, needs no privileges, and writes nothing. What cannot be
    found out becomes a sentence in :attr:`Machine.notes`, never an error.

    Args:
        sources: Where to read; None reads the running system.

    Raises:
        HetctlError: the running system is not Linux.
    """
    sources = sources or Sources.of_this_machine()
    files, environment = sources.files, sources.environment
    notes: list[str] = []
    cgroup = read_cgroup(files)
    processors = read_processors(files)
    usable = sources.affinity
    if cgroup.cpus is not None:
        usable = usable & cgroup.cpus or usable
    topology = read_topology(files, processors, usable, notes)
    cpu = read_cpu(
        files,
        processors,
        topology,
        sources.architecture,
        cgroup.cpu_quota,
        sources.fallback_flags,
        notes,
    )
    inventory = read_inventory(sources.gpu_library, files, notes)
    numa_nodes = read_numa_nodes(files, topology, cgroup, inventory.gpus, notes)
    node_ids = tuple(node.id for node in numa_nodes)
    gpus = visible_gpus(inventory.gpus, node_ids, environment, notes)
    return Machine(
        hostname=files.text("/proc/sys/kernel/hostname") or "",
        fingerprint=fingerprint(cpu, numa_nodes, gpus),
        kernel=files.text("/proc/sys/kernel/osrelease") or "",
        in_container=in_container(files, environment),
        cpu=cpu,
        numa_nodes=numa_nodes,
        gpus=gpus,
        driver_version=inventory.driver_version,
        cuda_driver_version=inventory.cuda_driver_version,
        memory_limit_bytes=cgroup.memory_limit_bytes or None,
        shm_free_bytes=files.free_bytes("/dev/shm"),
        notes=tuple(notes),
    )
