"""Whether the kernel's out-of-memory killer was at work, as its counters tell.

A rank that it kills ends by SIGKILL, like one that a person killed; only the counters of
the control group, or of the machine, tell the two apart.
"""

from pathlib import Path

_ROOT = Path("/")


class OomKills:
    """Counts the processes that the kernel killed for memory since this was made."""

    def __init__(self, root: Path = _ROOT) -> None:
        self._root = root
        # The machine's counter includes every group's, but a container may not see it.
        files = [root / "proc/vmstat", *self._group_files()]
        self._before = {file: _oom_kills(file) for file in files}

    def since(self) -> int:
        """Processes killed since; 0 where the kernel does not count them."""
        return max(_oom_kills(file) - before for file, before in self._before.items())

    def _group_files(self) -> list[Path]:
        """Of this process's memory group: cgroup v2, v1, and v1 as seen in a container."""
        groups = self._root / "sys/fs/cgroup"
        try:
            lines = (self._root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        files = []
        for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
            if controllers == "":
                files += [groups / path.lstrip("/") / "memory.events", groups / "memory.events"]
            elif "memory" in controllers.split(","):
                v1 = groups / "memory"
                files += [v1 / path.lstrip("/") / "memory.oom_control", v1 / "memory.oom_control"]
        return files


def _oom_kills(file: Path) -> int:
    """The line ``oom_kill N`` of a file; 0 without one."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return 0
