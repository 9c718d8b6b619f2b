"""Who uses the CPUs, told from a kernel's files and from real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hetctl.bench.telemetry.cpu import CpuSource

BURN = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


def stat(root: Path, *cpus: tuple[int, ...], numbers: tuple[int, ...] = (0, 1)) -> None:
    lines = [
        f"cpu{n} {' '.join(map(str, fields))} 0 0" for n, fields in zip(numbers, cpus, strict=True)
    ]
    path = root / "proc/stat"
    path.parent.mkdir(exist_ok=True)
    path.write_text("cpu  1 2 3 4 5 6 7 8 0 0\n" + "\n".join(lines) + "\nintr 5\n")


def set_cpu(root: Path, cpu: int, file: str, value: int) -> None:
    path = root / f"sys/devices/system/cpu/cpu{cpu}" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def test_busy_waiting_and_stolen_time_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 101.0])
    monkeypatch.setattr("hetctl.bench.telemetry.cpu.time.monotonic", lambda: next(clock))
    # user nice system idle iowait irq softirq steal, in ticks of 10 ms
    stat(tmp_path, (0,) * 8, (50,) * 8)
    source = CpuSource(cpus=(0, 1), root=tmp_path)
    stat(tmp_path, (30, 10, 20, 40, 0, 0, 0, 0), (50, 50, 50, 100, 60, 50, 50, 90))
    figures = source.read()
    assert figures["cpu0_load"] == pytest.approx(0.6)
    assert figures["cpu1_load"] == 0.0
    assert figures["stolen_cpus"] == pytest.approx(0.4)


def test_numbers_of_cpus_may_have_gaps(tmp_path: Path) -> None:
    stat(tmp_path, (0,) * 8, (0,) * 8, numbers=(0, 5))
    source = CpuSource(cpus=(5, 6), root=tmp_path)
    assert [column for column in source.columns if column.endswith("_load")] == ["cpu5_load"]


def test_a_cpu_that_goes_offline_leaves_a_gap(tmp_path: Path) -> None:
    stat(tmp_path, (0,) * 8, (0,) * 8)
    source = CpuSource(cpus=(0, 1), root=tmp_path)
    stat(tmp_path, (5,) * 8, numbers=(0,))
    assert "cpu1_load" not in source.read()


def test_frequency_and_throttling_are_those_of_the_usable_cpus(tmp_path: Path) -> None:
    stat(tmp_path, (0,) * 8, (0,) * 8)
    for cpu, khz in ((0, 2_000_000), (1, 3_000_000), (2, 100_000)):
        set_cpu(tmp_path, cpu, "cpufreq/scaling_cur_freq", khz)
        set_cpu(tmp_path, cpu, "thermal_throttle/core_throttle_count", 7)
    source = CpuSource(cpus=(0, 1), root=tmp_path)
    figures = source.read()
    assert figures["cpu_frequency_hz"] == 2.5e9
    assert figures["cpu_frequency_min_hz"] == 2e9
    assert figures["cpu_throttle_events"] == 14
    assert set(figures) == set(source.columns)


def test_what_the_kernel_does_not_tell_is_named(tmp_path: Path) -> None:
    stat(tmp_path, (0,) * 8, (0,) * 8)
    source = CpuSource(lambda: None, cpus=(0, 1), root=tmp_path)
    assert source.notes == (
        "The kernel tells no CPU frequency.",
        "The kernel does not count thermal throttling of the CPU.",
    )
    assert "foreign load is not told" in CpuSource(cpus=(0,), root=tmp_path).notes[0]


def test_the_load_of_the_server_and_of_strangers_are_told_apart() -> None:
    """Three real processes burn CPU: a server, its rank, and (double-forked) a stranger."""
    rank = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {BURN!r}])\n{BURN}"
    stranger = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {BURN!r}], start_new_session=True,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(p.pid)"
    )
    server = subprocess.Popen([sys.executable, "-c", rank], start_new_session=True)
    foreign = subprocess.run(
        [sys.executable, "-c", stranger], capture_output=True, text=True, check=True
    )
    try:
        time.sleep(0.3)
        source = CpuSource(lambda: server.pid)
        time.sleep(1.0)
        figures = source.read()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        os.kill(int(foreign.stdout), signal.SIGKILL)
        server.wait()
    assert set(figures) == set(source.columns)
    # The machine may be busy with more, but these two are always there.
    assert figures["server_cpus"] > 0.1
    assert figures["foreign_cpus"] > 0.05
    assert figures["bench_cpus"] < 0.5
    assert figures["server_memory_bytes"] > 1e6


def test_the_work_of_a_process_that_ended_still_counts_as_the_servers() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(0.3)"
    server = subprocess.Popen([sys.executable, "-c", burn], start_new_session=True)
    source = CpuSource(lambda: server.pid)
    while server.poll() is None:
        alive_s, _ = source._process_s()
        time.sleep(0.05)
    assert alive_s > 0.2
    assert source._process_s()[0] >= alive_s
