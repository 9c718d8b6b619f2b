"""Host memory in use, whole and per NUMA node, and DRAM traffic where the kernel counts it."""

from collections.abc import Mapping
from pathlib import Path

import psutil

_KIB = 1024


class MemorySource:
    """Memory that could not be given to another program: page cache does not count.

    ``dram_total_bytes`` is what Intel's and AMD's bandwidth monitoring counted for all
    processors since it was started; it is there where resctrl is mounted.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._nodes = {
            int(path.parent.name.removeprefix("node")): path
            for path in sorted((root / "sys/devices/system/node").glob("node[0-9]*/meminfo"))
        }
        self._traffic = tuple(
            sorted((root / "sys/fs/resctrl/mon_data").glob("mon_L3_*/mbm_total_bytes"))
        )
        self.columns = tuple(self.read())
        self.notes = (
            ()
            if "dram_total_bytes" in self.columns
            else ("DRAM traffic is not counted: resctrl is not mounted, or the CPU has none.",)
        )

    def read(self) -> Mapping[str, float]:
        memory = psutil.virtual_memory()
        figures = {"memory_used_bytes": float(memory.total - memory.available)}
        for node, path in self._nodes.items():
            used = _used_bytes(path)
            if used is not None:
                figures[f"node{node}_memory_used_bytes"] = used
        counts = [_count(path) for path in self._traffic]
        if counts and None not in counts:
            figures["dram_total_bytes"] = float(sum(count or 0 for count in counts))
        return figures

    def close(self) -> None:
        pass


def _used_bytes(meminfo: Path) -> float | None:
    """Of a node: all but what is free or can be reclaimed; None where it cannot be read."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        kib = {words[2].rstrip(":"): int(words[3]) for line in lines if (words := line.split())}
        reclaimable = kib["FilePages"] - kib["Shmem"] + kib.get("SReclaimable", 0)
        return float(max(0, kib["MemTotal"] - kib["MemFree"] - reclaimable) * _KIB)
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _count(path: Path) -> int | None:
    """The counter's value; it says "Unavailable" where monitoring is not possible."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
