"""Counters of the kernel, replayed from files."""

from pathlib import Path

import pytest

from hetctl.bench.telemetry.energy import EnergySource
from hetctl.bench.telemetry.memory import MemorySource


def write(root: Path, path: str, text: object) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def meminfo(root: Path, node: int, **kib: int) -> None:
    lines = "\n".join(f"Node {node} {name}: {value} kB" for name, value in kib.items())
    write(root, f"sys/devices/system/node/node{node}/meminfo", lines)


def test_page_cache_is_not_use_but_shared_memory_is(tmp_path: Path) -> None:
    meminfo(tmp_path, 0, MemTotal=1000, MemFree=300, FilePages=400, Shmem=100, SReclaimable=50)
    meminfo(tmp_path, 1, MemTotal=1000)
    source = MemorySource(tmp_path)
    figures = source.read()
    assert figures["node0_memory_used_bytes"] == 350 * 1024
    assert "node1_memory_used_bytes" not in source.columns
    assert figures["memory_used_bytes"] > 0


def test_dram_traffic_of_all_processors_is_added_up(tmp_path: Path) -> None:
    assert "DRAM traffic is not counted" in MemorySource(tmp_path).notes[0]
    for cache, count in (("00", 5_000), ("01", 7_000)):
        write(tmp_path, f"sys/fs/resctrl/mon_data/mon_L3_{cache}/mbm_total_bytes", count)
    source = MemorySource(tmp_path)
    assert source.notes == ()
    assert source.read()["dram_total_bytes"] == 12_000
    write(tmp_path, "sys/fs/resctrl/mon_data/mon_L3_01/mbm_total_bytes", "Unavailable")
    assert "dram_total_bytes" not in source.read()


def rapl(root: Path, domain: str, name: str, microjoules: int) -> None:
    write(root, f"sys/class/powercap/{domain}/name", name)
    write(root, f"sys/class/powercap/{domain}/energy_uj", microjoules)
    write(root, f"sys/class/powercap/{domain}/max_energy_range_uj", 10_000_000)


def test_energy_of_packages_adds_up_and_survives_a_counter_that_starts_over(
    tmp_path: Path,
) -> None:
    rapl(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    rapl(tmp_path, "intel-rapl:1", "package-1", 0)
    rapl(tmp_path, "intel-rapl:0:0", "core", 0)
    rapl(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    rapl(tmp_path, "intel-rapl-mmio:0", "package-0", 9_000_000)
    source = EnergySource(tmp_path)
    assert source.columns == ("cpu_package_energy_j", "dram_energy_j")
    rapl(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    rapl(tmp_path, "intel-rapl:1", "package-1", 3_000_000)
    rapl(tmp_path, "intel-rapl:0:1", "dram", 1_500_000)
    assert source.read() == pytest.approx({"cpu_package_energy_j": 5.0, "dram_energy_j": 1.0})
    rapl(tmp_path, "intel-rapl:1", "package-1", 4_000_000)
    assert source.read()["cpu_package_energy_j"] == pytest.approx(6.0)


def test_a_sum_that_lacks_a_package_is_not_given(tmp_path: Path) -> None:
    rapl(tmp_path, "intel-rapl:0", "package-0", 0)
    rapl(tmp_path, "intel-rapl:1", "package-1", 0)
    source = EnergySource(tmp_path)
    write(tmp_path, "sys/class/powercap/intel-rapl:1/energy_uj", "?")
    assert source.read() == {}


def test_why_there_is_no_cpu_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no CPU energy counter" in EnergySource(tmp_path).notes[0]
    rapl(tmp_path, "intel-rapl:0", "package-0", 0)
    read = Path.read_text

    def guarded(path: Path, *args: object, **kwargs: object) -> str:
        if path.name == "energy_uj":
            raise PermissionError
        return read(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", guarded)
    assert "only root may read it" in EnergySource(tmp_path).notes[0]
