"""Which CPUs are online, which of them this process may use, and the cores they form."""

from dataclasses import dataclass

from hetctl.machine import Core
from hetctl.probe.cpu_list import parse_cpu_list
from hetctl.probe.cpuinfo import Processor
from hetctl.probe.files import Files

_CPUS = "/sys/devices/system/cpu"


@dataclass(frozen=True)
class Topology:
    """The CPUs of the machine and the usable part of them."""

    online: tuple[int, ...]
    cores: tuple[Core, ...]
    """Cores with at least one usable CPU, in order; only usable CPUs are in them."""
    sockets: int


def read_topology(
    files: Files,
    processors: tuple[Processor, ...],
    usable: frozenset[int],
    notes: list[str],
) -> Topology:
    """Group the online CPUs in ``usable`` into cores.

    Args:
        processors: The records of ``/proc/cpuinfo``, used where ``/sys`` is silent.
        usable: CPUs that affinity and cgroup allow.
        notes: Collects a sentence for what could not be found out.
    """
    online = _online(files, processors, usable)
    places = _places_from_sys(files, online) or _places_from_cpuinfo(processors, online)
    if places is None:
        notes.append(
            "The CPU topology is not visible (neither in /sys nor in /proc/cpuinfo), so every "
            "logical CPU is counted as a core of one socket."
        )
        places = {cpu: (0, cpu) for cpu in online}
    # Socket ids can have gaps, and on some ARM machines they are large numbers.
    sockets = {
        socket: index for index, socket in enumerate(sorted({s for s, _ in places.values()}))
    }
    members: dict[tuple[int, int], list[int]] = {}
    for cpu in online:
        if cpu in usable:
            members.setdefault(places[cpu], []).append(cpu)
    cores = (Core(cpus=tuple(cpus), socket=sockets[s]) for (s, _), cpus in members.items())
    return Topology(online, tuple(cores), max(1, len(sockets)))


def _online(
    files: Files, processors: tuple[Processor, ...], usable: frozenset[int]
) -> tuple[int, ...]:
    if text := files.text(f"{_CPUS}/online"):
        return parse_cpu_list(text)
    return tuple(sorted(processor.id for processor in processors)) or tuple(sorted(usable))


def _places_from_sys(files: Files, online: tuple[int, ...]) -> dict[int, tuple[int, int]] | None:
    """Socket, and the first SMT sibling as the name of the core, of each online CPU."""
    places = {}
    for cpu in online:
        folder = f"{_CPUS}/cpu{cpu}/topology"
        siblings = files.text(f"{folder}/thread_siblings_list")
        if not siblings:
            return None
        socket = files.integer(f"{folder}/physical_package_id")
        places[cpu] = (socket or 0, parse_cpu_list(siblings)[0])
    return places


def _places_from_cpuinfo(
    processors: tuple[Processor, ...], online: tuple[int, ...]
) -> dict[int, tuple[int, int]] | None:
    places = {
        processor.id: (processor.socket, processor.core)
        for processor in processors
        if processor.socket is not None and processor.core is not None
    }
    return places if places and places.keys() >= set(online) else None
