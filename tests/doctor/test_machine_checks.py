"""Limits, processor, PCI: what the system shows, in files of machines that no test machine is."""

import resource
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hetctl.doctor import limits, pci, processor
from hetctl.units import GIB, MIB
from tests.doctor.surroundings import surroundings
from tests.planner.machines import gpu, machine, node
from vllm_hetero import shared_memory


def write(root: Path, path: str, content: str | bytes) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_a_full_dev_shm_fails_and_a_small_one_warns_with_several_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_free(count: int) -> None:
        monkeypatch.setattr(shared_memory, "free_bytes", lambda folder=None: count)
        monkeypatch.setattr(limits, "free_bytes", lambda: count)

    with_free(4 * MIB)
    assert limits.shared_memory(surroundings()).status == "fail"
    with_free(64 * MIB)
    assert limits.shared_memory(surroundings(gpus=1)).status == "pass"
    found = limits.shared_memory(surroundings(gpus=2))
    assert found.status == "warn"
    assert "--shm-size" in found.remedy


@pytest.mark.parametrize(("files", "status"), [(512, "fail"), (5000, "warn"), (70_000, "pass")])
def test_too_few_open_files_are_told(files: int, status: str) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files > hard:
        pytest.skip(f"this system allows {hard}")
    code = (
        "import resource; from hetctl.doctor import limits\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))\n"
        "from tests.doctor.surroundings import surroundings\n"
        "print(limits.open_files(surroundings()).status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == status


def test_locked_memory_matters_to_gpu_ranks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limits.locked_memory(surroundings()).status == "skipped"
    for limit, status in ((64 * 1024, "warn"), (GIB, "pass"), (resource.RLIM_INFINITY, "pass")):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, limit))
        assert limits.locked_memory(surroundings(gpus=1)).status == status


def test_memory_set_aside_for_huge_pages_is_pointed_out(tmp_path: Path) -> None:
    write(tmp_path, "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
    plain = limits.huge_pages(surroundings(tmp_path))
    assert plain.status == "pass"
    assert "madvise" in plain.detail
    reserving = node(0).model_copy(
        update={"hugepages_total": 20, "hugepage_size_bytes": GIB, "memory_total_bytes": 64 * GIB}
    )
    assert limits.huge_pages(surroundings(tmp_path, nodes=[reserving])).status == "warn"


def test_the_governor_is_that_of_every_core(tmp_path: Path) -> None:
    assert processor.governor(surroundings(tmp_path)).status == "skipped"
    for policy in (0, 1):
        path = f"/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_governor"
        write(tmp_path, path, "performance\n")
    assert processor.governor(surroundings(tmp_path)).status == "pass"
    write(tmp_path, path, "powersave\n")
    mixed = processor.governor(surroundings(tmp_path))
    assert mixed.status == "warn"
    assert mixed.detail.startswith("performance, powersave")


def test_a_quota_below_the_cpus_is_told() -> None:
    cpus = len(machine().numa_nodes[0].cpus)
    assert processor.cpu_time(surroundings(on=machine(cpu_quota=float(cpus)))).status == "pass"
    limited = processor.cpu_time(surroundings(on=machine(cpu_quota=1.5)))
    assert limited.status == "warn"
    assert limited.detail.startswith("a quota of 1.5 CPUs")


def acs_space(control: int) -> bytes:
    """A configuration space with AER (id 1) and then ACS (id 13)."""
    space = bytearray(4096)
    struct.pack_into("<I", space, 0x100, 0x0001 | 1 << 16 | 0x140 << 20)
    struct.pack_into("<I", space, 0x140, 0x000D | 1 << 16)
    struct.pack_into("<H", space, 0x140 + 6, control)
    return bytes(space)


def test_the_acs_control_word_is_found_in_the_list_of_capabilities() -> None:
    assert pci.acs_control(acs_space(0x1D)) == 0x1D
    assert pci.acs_control(bytes(4096)) is None
    assert pci.acs_control(bytes(64)) is None
    looping = bytearray(4096)
    struct.pack_into("<I", looping, 0x100, 0x0001 | 0x100 << 20)
    assert pci.acs_control(bytes(looping)) is None


@pytest.mark.parametrize(
    ("space", "status"),
    [(acs_space(0x1D), "warn"), (acs_space(0), "pass"), (acs_space(0)[:64], "skipped")],
)
def test_bridges_that_redirect_are_told_between_gpus(
    space: bytes, status: str, tmp_path: Path
) -> None:
    bridge = "/sys/bus/pci/devices/0000:15:01.0"
    write(tmp_path, f"{bridge}/class", "0x060400\n")
    write(tmp_path, f"{bridge}/config", space)
    write(tmp_path, "/sys/bus/pci/devices/0000:16:00.0/class", "0x030200\n")
    assert pci.access_control(surroundings(tmp_path, gpus=2)).status == status
    assert pci.access_control(surroundings(tmp_path, gpus=1)).status == "skipped"


def test_a_translating_iommu_matters_between_gpus_without_nvlink(tmp_path: Path) -> None:
    apart = [gpu(i).model_copy(update={"pci_bus_id": f"0000:1{i}:00.0"}) for i in range(2)]
    assert pci.iommu(surroundings(tmp_path, gpus=apart)).detail == "off, or not visible"
    write(tmp_path, "/sys/kernel/iommu_groups/0/type", "DMA")
    for one in apart:
        write(tmp_path, f"/sys/bus/pci/devices/{one.pci_bus_id}/iommu_group/type", "DMA-FQ\n")
    assert pci.iommu(surroundings(tmp_path, gpus=apart)).status == "warn"
    assert pci.iommu(surroundings(tmp_path, gpus=apart[:1])).status == "pass"
    linked = [a.model_copy(update={"nvlink_peers": (1 - i,)}) for i, a in enumerate(apart)]
    assert pci.iommu(surroundings(tmp_path, gpus=linked)).status == "pass"
    assert pci.access_control(surroundings(tmp_path, gpus=linked)).status == "skipped"
    for one in apart:
        write(tmp_path, f"/sys/bus/pci/devices/{one.pci_bus_id}/iommu_group/type", "identity\n")
    assert pci.iommu(surroundings(tmp_path, gpus=apart)).status == "pass"
