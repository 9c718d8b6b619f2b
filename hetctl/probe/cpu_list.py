"""The kernel's notation for sets of CPUs and NUMA nodes: ``0-7,64-71``."""

from collections.abc import Iterable


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The ids in a list such as ``0-3,8``; empty for an empty list.

    Raises:
        ValueError: the text is not a list of ids and ranges.
    """
    ids: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, _, last = part.partition("-")
        ids.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(ids))


def format_cpu_list(ids: Iterable[int]) -> str:
    """The shortest list of ids and ranges: ``0-3,8``."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(ids)):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)
