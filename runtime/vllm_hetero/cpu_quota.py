"""How much CPU time the control groups of this process grant it."""

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_V1_FOLDERS = ("cpu,cpuacct", "cpu")
_V1_NAMES = ("quota", "period")
_DEFAULT_PERIOD_US = 100_000


def cpu_quota(root: Path = _ROOT, memberships: Path = Path("/proc/self/cgroup")) -> float | None:
    """CPUs' worth of time: the least that the process' own group or one above it grants.

    Returns:
        None where nothing limits it, or control groups are not mounted in the usual place.
    """
    return min(_quotas(root, memberships), default=None)


def _quotas(root: Path, memberships: Path) -> Iterator[float]:
    for line in _text(memberships).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for group in _upwards(root, path):
                quota, _, period = _text(group / "cpu.max").partition(" ")
                yield from _quota(quota, period)
        elif "cpu" in controllers.split(","):
            for group in (g for folder in _V1_FOLDERS for g in _upwards(root / folder, path)):
                quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in _V1_NAMES)
                yield from _quota(quota, period)


def _quota(quota: str, period: str) -> Iterator[float]:
    """Neither ``max`` nor -1 is a limit."""
    if quota.isdecimal() and int(quota):
        yield int(quota) / (int(period) if period.isdecimal() else _DEFAULT_PERIOD_US)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group and those above it, as far as the mount shows them.

    A container without a cgroup namespace of its own is told the host's path and sees its group as
    the mount itself, which comes last here.
    """
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
