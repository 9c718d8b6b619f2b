"""What the kernel tells of a rank's process, whether it still runs or not."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name, which ends with the last ")" (proc(5)).
_USER, _SYSTEM, _STARTED, _PAGES = 11, 12, 19, 21


@dataclass(frozen=True)
class ProcessUse:
    """What a process takes of the machine."""

    cpu_s: float
    """Time of all its threads so far."""
    resident_bytes: int


def started_ticks(pid: int, proc: Path = _PROC) -> int | None:
    """When a process started, in clock ticks since the machine did; None if it is gone."""
    fields = _stat(pid, proc)
    return int(fields[_STARTED]) if fields else None


def process_use(pid: int, started: int | None, proc: Path = _PROC) -> ProcessUse | None:
    """What a process takes; None if it is gone, even where another one got its number.

    Args:
        started: What :func:`started_ticks` said of it.
    """
    fields = _stat(pid, proc)
    if not fields or int(fields[_STARTED]) != started:
        return None
    cpu_s = (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_S
    return ProcessUse(cpu_s, int(fields[_PAGES]) * os.sysconf("SC_PAGE_SIZE"))


def _stat(pid: int, proc: Path) -> list[str]:
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
