"""The rank map as a table for the log."""

from collections.abc import Sequence
from dataclasses import dataclass

from vllm_hetero.rank_map import Rank, RankMap

_HEADER = ("rank", "device", "NUMA node", "CPUs", "layers", "weights", "KV cache")


@dataclass(frozen=True)
class Held:
    """What a rank holds once it is ready."""

    layers: tuple[int, int]
    """First, and one past the last."""
    weight_bytes: int
    """Of the device's memory, all copies of the weights included."""
    kv_cache_bytes: int


def describe(ranks: RankMap, held: Sequence[Held] = ()) -> str:
    """One line per rank, columns aligned; what the map says until ``held`` is known."""
    rows = [_HEADER, *map(_row, ranks.ranks, held or map(_planned, ranks.ranks))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _planned(rank: Rank) -> tuple[str, str, str]:
    kv_cache = "auto" if rank.kv_cache_bytes is None else _gib(rank.kv_cache_bytes)
    return ("even share" if rank.layers is None else _layers(rank.layers), "-", kv_cache)


def _row(rank: Rank, holds: Held | tuple[str, str, str]) -> tuple[str, ...]:
    if isinstance(holds, Held):
        holds = (_layers(holds.layers), _gib(holds.weight_bytes), _gib(holds.kv_cache_bytes))
    node = "-" if rank.numa_node is None else str(rank.numa_node)
    return (str(rank.rank), rank.device, node, cpu_ranges(rank.cpus) or "-", *holds)


def _layers(layers: tuple[int, int]) -> str:
    return f"{layers[0]}..{layers[1] - 1}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def cpu_ranges(cpus: tuple[int, ...]) -> str:
    """CPUs in the kernel's list format: (0, 1, 2, 8) is ``0-2,8``."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
