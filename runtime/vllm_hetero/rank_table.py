"""The rank map as a table for the log."""

from vllm_hetero.rank_map import Rank, RankMap

_HEADER = ("rank", "device", "NUMA node", "CPUs", "layers", "KV cache")


def describe(ranks: RankMap) -> str:
    """One line per rank, columns aligned."""
    rows = [_HEADER, *(_row(rank) for rank in ranks.ranks)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(rank: Rank) -> tuple[str, ...]:
    layers = "even share" if rank.layers is None else f"{rank.layers[0]}..{rank.layers[1] - 1}"
    kv_cache = "auto" if rank.kv_cache_bytes is None else f"{rank.kv_cache_bytes / 2**30:.2f} GiB"
    node = "-" if rank.numa_node is None else str(rank.numa_node)
    return (str(rank.rank), rank.device, node, cpu_ranges(rank.cpus) or "-", layers, kv_cache)


def cpu_ranges(cpus: tuple[int, ...]) -> str:
    """CPUs in the kernel's list format: (0, 1, 2, 8) is ``0-2,8``."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
