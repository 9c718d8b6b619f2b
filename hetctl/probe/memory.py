"""Host memory: what each NUMA node has, and what this process may still take of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hetctl.probe.files import Files
from hetctl.units import KIB

_NODES = "/sys/devices/system/node"
_FIELD = re.compile(r"(?:Node \d+ )?(\S+):\s+(\d+)")


@dataclass(frozen=True)
class HugePages:
    """Pages set aside by ``vm.nr_hugepages``; transparent huge pages are not counted."""

    size_bytes: int | None = None
    total: int = 0
    free: int = 0


@dataclass(frozen=True)
class NodeMemory:
    """Memory of one NUMA node."""

    total_bytes: int
    free_bytes: int
    """Free and reclaimable."""
    huge_pages: HugePages = HugePages()


def read_machine_memory(files: Files) -> NodeMemory:
    """The memory of the whole machine, for one that shows no NUMA nodes."""
    fields = _fields(files.text("/proc/meminfo"))
    free = fields.get("MemAvailable", _free_and_reclaimable(fields))
    huge_pages = _huge_pages(files, "/sys/kernel/mm/hugepages")
    return NodeMemory(fields.get("MemTotal", 0), free, huge_pages)


def read_node_memory(files: Files, node: int) -> NodeMemory:
    """The memory of one NUMA node; zero where the node has none."""
    fields = _fields(files.text(f"{_NODES}/node{node}/meminfo"))
    huge_pages = _huge_pages(files, f"{_NODES}/node{node}/hugepages")
    return NodeMemory(fields.get("MemTotal", 0), _free_and_reclaimable(fields), huge_pages)


def limit_free(nodes: dict[int, NodeMemory], limits: Iterable[int | None]) -> dict[int, NodeMemory]:
    """Lower the free memory of all nodes in proportion until the sum keeps every limit."""
    free = sum(memory.free_bytes for memory in nodes.values())
    allowed = min((limit for limit in limits if limit is not None), default=free)
    if free <= allowed:
        return nodes
    return {
        node: replace(memory, free_bytes=memory.free_bytes * allowed // free)
        for node, memory in nodes.items()
    }


def _fields(text: str | None) -> dict[str, int]:
    """Bytes per field of a ``meminfo`` file, which counts in KiB."""
    return {name: int(count) * KIB for name, count in _FIELD.findall(text or "")}


def _free_and_reclaimable(fields: dict[str, int]) -> int:
    """What ``MemAvailable`` counts, without its watermarks, which nodes do not report."""
    names = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
    return sum(fields.get(name, 0) for name in names)


def _huge_pages(files: Files, folder: str) -> HugePages:
    """The page size that most memory is set aside in; where none is, the smallest."""
    sizes = []
    for name in files.names(folder):
        size = int(name.removeprefix("hugepages-").removesuffix("kB")) * KIB
        total = files.integer(f"{folder}/{name}/nr_hugepages") or 0
        free = files.integer(f"{folder}/{name}/free_hugepages") or 0
        sizes.append(HugePages(size, total, free))
    return max(
        sizes,
        key=lambda pages: (pages.total * (pages.size_bytes or 0), -(pages.size_bytes or 0)),
        default=HugePages(),
    )
