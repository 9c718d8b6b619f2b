"""What control groups allow this process: CPUs, NUMA nodes, CPU time and memory.

A group inherits the limits of its ancestors, so every limit is the tightest from the
process' own group up to the top of what is mounted. Version 1 has one hierarchy per
controller, version 2 one for all; a machine may mix them, so each controller is looked
up by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hetctl.probe.cpu_list import parse_cpu_list
from hetctl.probe.files import Files

_V1_UNLIMITED = 2**62
"""Version 1 writes "no limit" as the largest page-aligned signed 64-bit number."""


@dataclass(frozen=True)
class Cgroup:
    """The tightest of all limits; None where there is no limit."""

    cpus: frozenset[int] | None = None
    memory_nodes: frozenset[int] | None = None
    cpu_quota: float | None = None
    memory_limit_bytes: int | None = None
    memory_headroom_bytes: int | None = None
    """What may still be taken: the limit less what is used and not reclaimable."""


def read_cgroup(files: Files) -> Cgroup:
    """The limits of this process; all None where no control groups are mounted."""
    hierarchies = _hierarchies(files)
    memory = list(_memory_limits(files, hierarchies))
    return Cgroup(
        cpus=_cpuset(files, hierarchies, "cpus"),
        memory_nodes=_cpuset(files, hierarchies, "mems"),
        cpu_quota=min(_cpu_quotas(files, hierarchies), default=None),
        memory_limit_bytes=min((limit for limit, _ in memory), default=None),
        memory_headroom_bytes=min((headroom for _, headroom in memory), default=None),
    )


@dataclass(frozen=True)
class _Hierarchy:
    """One mounted tree of groups, and where in it this process is."""

    version: int
    groups: tuple[str, ...]
    """Folders from the process' own group up to the top."""


def _hierarchies(files: Files) -> dict[str, _Hierarchy]:
    """The hierarchy of each controller; version 2 is under the empty name."""
    mounts: dict[str, tuple[str, str]] = {}
    for controller, place in _mounts(files):
        # A hierarchy may be mounted in other places too, for nested containers.
        if controller not in mounts or place[1].startswith("/sys/fs/cgroup"):
            mounts[controller] = place
    found: dict[str, _Hierarchy] = {}
    for line in (files.text("/proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounts:
                root, mount_point = mounts[controller]
                version = 1 if controller else 2
                found[controller] = _Hierarchy(version, _ancestors(mount_point, root, path))
    return found


def _mounts(files: Files) -> Iterator[tuple[str, tuple[str, str]]]:
    """For each controller: the root within its hierarchy, and where that is mounted."""
    for line in (files.text("/proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        kind, _, options = right.split(" ", 2)
        root, mount_point = fields[3], fields[4]
        if kind == "cgroup2":
            yield "", (root, mount_point)
        elif kind == "cgroup":
            for option in options.split(","):
                yield option, (root, mount_point)


def _ancestors(mount_point: str, root: str, path: str) -> tuple[str, ...]:
    """Folders of the group ``path`` and its parents, as far as the mount shows them.

    Without a cgroup namespace of its own a container sees host paths here, and a mount
    whose root is its own group. A path outside the mount leaves only the mount itself.
    """
    if root != "/":
        path = path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else ""
    parts = [part for part in path.split("/") if part]
    if ".." in parts:
        parts = []
    return tuple("/".join([mount_point, *parts[:depth]]) for depth in range(len(parts), -1, -1))


def _controller(hierarchies: dict[str, _Hierarchy], name: str) -> _Hierarchy:
    return hierarchies.get(name) or hierarchies.get("") or _Hierarchy(2, ())


def _cpuset(
    files: Files, hierarchies: dict[str, _Hierarchy], resource: str
) -> frozenset[int] | None:
    """What the nearest group with a cpuset allows; ``effective`` includes its ancestors."""
    hierarchy = _controller(hierarchies, "cpuset")
    effective = f"effective_{resource}" if hierarchy.version == 1 else f"{resource}.effective"
    for group in hierarchy.groups:
        if ids := files.text(f"{group}/cpuset.{effective}"):
            return frozenset(parse_cpu_list(ids))
    return None


def _cpu_quotas(files: Files, hierarchies: dict[str, _Hierarchy]) -> Iterator[float]:
    """CPUs' worth of time that each group with a quota grants."""
    hierarchy = _controller(hierarchies, "cpu")
    for group in hierarchy.groups:
        if hierarchy.version == 1:
            quota = files.integer(f"{group}/cpu.cfs_quota_us")
            period = files.integer(f"{group}/cpu.cfs_period_us")
        else:
            words = (files.text(f"{group}/cpu.max") or "max").split()
            quota = int(words[0]) if words[0] != "max" else None
            period = int(words[1]) if len(words) > 1 else 100_000
        if quota and period and quota > 0:
            yield quota / period


def _memory_limits(files: Files, hierarchies: dict[str, _Hierarchy]) -> Iterator[tuple[int, int]]:
    """Limit and headroom of each group that limits memory."""
    hierarchy = _controller(hierarchies, "memory")
    for group in hierarchy.groups:
        if hierarchy.version == 1:
            limits = [files.integer(f"{group}/memory.limit_in_bytes")]
            used = files.integer(f"{group}/memory.usage_in_bytes") or 0
        else:
            # Above "high" the kernel throttles the group until it is nearly stopped.
            limits = [files.integer(f"{group}/memory.{name}") for name in ("max", "high")]
            used = files.integer(f"{group}/memory.current") or 0
        known = [limit for limit in limits if limit is not None and limit < _V1_UNLIMITED]
        if known:
            held = max(0, used - _reclaimable(files, group, hierarchy.version))
            yield min(known), max(0, min(known) - held)


def _reclaimable(files: Files, group: str, version: int) -> int:
    """Page cache that the kernel drops before the group runs out of memory."""
    prefix = "total_" if version == 1 else ""
    names = {f"{prefix}inactive_file", f"{prefix}active_file"}
    lines = (line.split() for line in (files.text(f"{group}/memory.stat") or "").splitlines())
    return sum(int(words[1]) for words in lines if words[0] in names)
