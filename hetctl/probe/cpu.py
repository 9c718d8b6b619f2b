"""The processor: name, sockets, instruction sets and caches."""

from hetctl.machine import Cache, Cpu
from hetctl.probe.cpu_list import parse_cpu_list
from hetctl.probe.cpuinfo import FlagSource, Processor, instruction_sets
from hetctl.probe.files import Files
from hetctl.probe.topology import Topology

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}


def read_cpu(
    files: Files,
    processors: tuple[Processor, ...],
    topology: Topology,
    architecture: str,
    cpu_quota: float | None,
    fallback_flags: FlagSource,
    notes: list[str],
) -> Cpu:
    """Describe the processor.

    Args:
        fallback_flags: Asked only where ``/proc/cpuinfo`` lists no flags at all.
        notes: Collects a sentence for what could not be found out.
    """
    first = processors[0] if processors else Processor(0)
    flags = first.flags or fallback_flags()
    if not flags:
        notes.append("The CPU's instruction sets could not be found out; none is assumed.")
    if not first.model:
        notes.append("The kernel does not tell the CPU's model name.")
    return Cpu(
        model=first.model or f"unknown {architecture} CPU",
        vendor=first.vendor,
        architecture=architecture,
        sockets=topology.sockets,
        logical_cpus_online=max(1, len(topology.online)),
        cpu_quota=cpu_quota,
        isa=instruction_sets(flags),
        caches=_caches(files, topology.online),
    )


def _caches(files: Files, online: tuple[int, ...]) -> tuple[Cache, ...]:
    """Every level and kind of cache; a cache that several CPUs share counts once."""
    instances: dict[tuple[int, str, int], int] = {}
    seen: set[tuple[str, int]] = set()
    for cpu in online:
        folder = f"/sys/devices/system/cpu/cpu{cpu}/cache"
        for index in files.names(folder):
            if not index.startswith("index") or (index, cpu) in seen:
                continue
            level = files.integer(f"{folder}/{index}/level")
            size = _size(files.text(f"{folder}/{index}/size") or "")
            if not level or not size:
                continue
            kind = (files.text(f"{folder}/{index}/type") or "unified").lower()
            shared = parse_cpu_list(files.text(f"{folder}/{index}/shared_cpu_list") or f"{cpu}")
            seen.update((index, sharer) for sharer in shared)
            key = (level, kind, size)
            instances[key] = instances.get(key, 0) + 1
    return tuple(
        Cache(level=level, kind=kind, size_bytes=size, instances=count)
        for (level, kind, size), count in sorted(instances.items())
    )


def _size(text: str) -> int | None:
    number, unit = text[:-1], text[-1:]
    return int(number) * _UNITS[unit] if number.isdecimal() and unit in _UNITS else None
