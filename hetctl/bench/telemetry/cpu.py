"""CPUs: the load of each, who causes it, frequency, and thermal throttling.

A process counts as the server's when it is in the session that the server leads, and as
the benchmark's own when hetctl started it (the load generator) or is hetctl itself.
Everything else is foreign: ``foreign_cpus`` is the time that the CPUs were busy, less what
those two used, and ``stolen_cpus`` what a hypervisor gave to other machines.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_RESCAN_S = 5.0
"""Members of a session are looked for again after so long; a load starts few processes."""
_IDLE, _IOWAIT, _STEAL = 3, 4, 7
"""Fields of a line of /proc/stat; user and nice contain the guests' time (proc(5))."""


class CpuSource:
    """The CPUs that this process may use, as means since the reading before.

    Args:
        server_pid: tells the process that leads the server's session; None while there is
            none. Without the function the server is not ours, and its load is not told
            apart from that of others.
        root: replaces ``/``.
    """

    def __init__(
        self,
        server_pid: Callable[[], int | None] | None = None,
        cpus: Iterable[int] | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._root = root
        self._server_pid = server_pid
        wanted = os.sched_getaffinity(0) if cpus is None else cpus
        times = self._times()
        self._cpus = tuple(sorted(set(wanted) & times.keys()))
        self._members = _Members()
        self._before = (time.monotonic(), times, self._process_s())
        frequencies = (self._cpu(cpu) / "cpufreq/scaling_cur_freq" for cpu in self._cpus)
        self._frequency_files = tuple(path for path in frequencies if path.exists())
        counters = (
            self._cpu(cpu) / f"thermal_throttle/{level}_throttle_count"
            for cpu in self._cpus
            for level in ("core", "package")
        )
        self._throttle_files = tuple(path for path in counters if path.exists())
        self.columns = self._columns()
        self.notes = self._unreadable()

    def read(self) -> Mapping[str, float]:
        now = (time.monotonic(), self._times(), self._process_s())
        (then_s, then, (server_then, own_then)), self._before = self._before, now
        passed_s = max(now[0] - then_s, 1e-6)
        busy, stolen = {}, 0.0
        for cpu in self._cpus:
            if cpu not in then or cpu not in now[1]:
                continue  # It was taken offline.
            spent = [(b - a) * _TICK_S for a, b in zip(then[cpu], now[1][cpu], strict=True)]
            busy[cpu] = sum(spent) - spent[_IDLE] - spent[_IOWAIT] - spent[_STEAL]
            stolen += spent[_STEAL]
        figures = {f"cpu{cpu}_load": min(1.0, max(0.0, s / passed_s)) for cpu, s in busy.items()}
        figures["stolen_cpus"] = stolen / passed_s
        if self._server_pid is not None:
            server, own = now[2][0] - server_then, now[2][1] - own_then
            figures["server_cpus"] = max(0.0, server / passed_s)
            figures["bench_cpus"] = max(0.0, own / passed_s)
            # Ticks are counted per CPU and per process separately, so a little may be negative.
            figures["foreign_cpus"] = max(0.0, (sum(busy.values()) - server - own) / passed_s)
            figures["server_memory_bytes"] = float(self._members.server_memory_bytes())
        figures |= self._frequency()
        if self._throttle_files:
            figures["cpu_throttle_events"] = float(sum(map(_integer, self._throttle_files)))
        return figures

    def close(self) -> None:
        self._members.forget()

    def _columns(self) -> tuple[str, ...]:
        columns = [f"cpu{cpu}_load" for cpu in self._cpus] + ["stolen_cpus"]
        if self._server_pid is not None:
            columns += ["server_cpus", "bench_cpus", "foreign_cpus", "server_memory_bytes"]
        columns += list(self._frequency())
        return (*columns, "cpu_throttle_events") if self._throttle_files else tuple(columns)

    def _unreadable(self) -> tuple[str, ...]:
        notes = []
        if self._server_pid is None:
            notes.append(
                "The server was not started by hetctl, so foreign load is not told from its own."
            )
        if not self._frequency():
            notes.append("The kernel tells no CPU frequency.")
        if not self._throttle_files:
            notes.append("The kernel does not count thermal throttling of the CPU.")
        return tuple(notes)

    def _cpu(self, cpu: int) -> Path:
        return self._root / f"sys/devices/system/cpu/cpu{cpu}"

    def _times(self) -> dict[int, tuple[int, ...]]:
        """Clock ticks that each CPU spent in user, nice, system, idle, iowait, irq, softirq
        and steal since the machine started. psutil numbers online CPUs only, without gaps."""
        times = {}
        for line in (self._root / "proc/stat").read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                times[int(name[3:])] = tuple(map(int, fields[:8]))
        return times

    def _process_s(self) -> tuple[float, float]:
        """CPU seconds of the server's processes and of the benchmark's own."""
        if self._server_pid is None:
            return 0.0, 0.0
        return self._members.cpu_s(self._server_pid())

    def _frequency(self) -> dict[str, float]:
        """Mean and lowest over the CPUs; where the kernel scales none, what /proc/cpuinfo says."""
        hertz = [khz * 1e3 for path in self._frequency_files if (khz := _integer(path))]
        if not hertz and self._root == Path("/"):
            hertz = [f.current * 1e6 for f in psutil.cpu_freq(percpu=True) or () if f.current]
        if not hertz:
            return {}
        return {
            "cpu_frequency_hz": sum(hertz) / len(hertz),
            "cpu_frequency_min_hz": min(hertz),
        }


class _Members:
    """The processes of the server and of the benchmark, looked up now and then."""

    def __init__(self) -> None:
        self._server: dict[int, psutil.Process] = {}
        self._own: dict[int, psutil.Process] = {}
        self._led_by: int | None = None
        self._scanned = -_RESCAN_S
        # What processes had used when they were last seen, by process id: the sum must not
        # fall when one ends, or its work would look like somebody else's.
        self._used_s: tuple[dict[int, float], dict[int, float]] = ({}, {})

    def cpu_s(self, leader: int | None) -> tuple[float, float]:
        """CPU seconds so far of the server that ``leader`` leads and of the benchmark."""
        now = time.monotonic()
        if leader != self._led_by or now - self._scanned >= _RESCAN_S:
            self._scan(leader)
            self._led_by, self._scanned = leader, now
        for members, used in zip((self._server, self._own), self._used_s, strict=True):
            for pid, process in list(members.items()):
                try:
                    times = process.cpu_times()
                except psutil.Error:
                    del members[pid]
                else:
                    used[pid] = times.user + times.system
        return sum(self._used_s[0].values()), sum(self._used_s[1].values())

    def server_memory_bytes(self) -> int:
        """Private memory of the server's processes; what they share is in none of them."""
        total = 0
        for process in list(self._server.values()):
            try:
                memory = process.memory_info()
            except psutil.Error:
                continue
            total += memory.rss - memory.shared
        return total

    def forget(self) -> None:
        self._server, self._own = {}, {}

    def _scan(self, leader: int | None) -> None:
        own_pid = os.getpid()
        children = {child.pid for child in psutil.Process().children()} | {own_pid}
        for pid in psutil.pids():
            try:
                session = os.getsid(pid)
            except OSError:
                continue
            if leader is not None and session == leader:
                self._add(pid, self._server)
            elif pid in children or (session in children and session != own_pid):
                self._add(pid, self._own)

    @staticmethod
    def _add(pid: int, members: dict[int, psutil.Process]) -> None:
        if pid not in members:
            try:
                members[pid] = psutil.Process(pid)
            except psutil.Error:
                return


def _integer(path: Path) -> int:
    """What the file holds; 0 where it cannot be read now (its CPU went offline)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
