"""Which CPUs a process may use, by NUMA node and physical core (Linux ``/sys``)."""

import os
from pathlib import Path

_SYS = Path("/sys/devices/system")


def parse_cpu_list(text: str) -> list[int]:
    """CPUs in the kernel's list format: ``0-3,8`` is [0, 1, 2, 3, 8]."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def usable_cores(sys: Path = _SYS) -> dict[int, list[int]]:
    """One logical CPU per usable physical core, by NUMA node.

    A second SMT sibling adds no memory bandwidth, so it is left out. Without NUMA
    support in the kernel, everything is node 0.
    """
    allowed = os.sched_getaffinity(0)
    nodes: dict[int, list[int]] = {}
    for node, cpus in node_cpus(sys).items():
        seen: set[tuple[int, ...]] = set()
        for cpu in sorted(set(cpus) & allowed):
            siblings = _siblings(sys, cpu)
            if siblings not in seen:
                seen.add(siblings)
                nodes.setdefault(node, []).append(cpu)
    return nodes


def physical_cores(sys: Path = _SYS) -> list[tuple[int, ...]]:
    """The CPUs of each physical core: one, or several SMT siblings."""
    cpus = (cpu for node in node_cpus(sys).values() for cpu in node)
    return list(dict.fromkeys(_siblings(sys, cpu) for cpu in cpus))


def node_cpus(sys: Path = _SYS) -> dict[int, list[int]]:
    """All CPUs of each NUMA node; without NUMA support, what may be used is node 0."""
    nodes = {}
    for folder in sorted(sys.glob("node/node[0-9]*")):
        try:
            nodes[int(folder.name[4:])] = parse_cpu_list((folder / "cpulist").read_text())
        except OSError:
            continue
    return nodes or {0: sorted(os.sched_getaffinity(0))}


def _siblings(sys: Path, cpu: int) -> tuple[int, ...]:
    try:
        text = (sys / f"cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return (cpu,)
    return tuple(parse_cpu_list(text))
