"""The CPU time that made-up control groups grant."""

from pathlib import Path

import pytest

from vllm_hetero.cpu_quota import cpu_quota


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.fixture
def memberships(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sys"


def test_the_least_of_a_group_and_those_above_it_holds(root: Path, memberships: Path) -> None:
    write(memberships, "0::/pods/one/worker")
    write(root / "cpu.max", "800000 100000")
    write(root / "pods/cpu.max", "max 100000")
    write(root / "pods/one/cpu.max", "250000 100000")
    write(root / "pods/one/worker/cpu.max", "600000 200000")
    assert cpu_quota(root, memberships) == 2.5


def test_a_container_that_is_told_the_hosts_path_sees_its_own_group(
    root: Path, memberships: Path
) -> None:
    write(memberships, "0::/kubepods/pod1/container")
    write(root / "cpu.max", "150000 100000")
    assert cpu_quota(root, memberships) == 1.5


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_two_files(root: Path, memberships: Path, folder: str) -> None:
    write(memberships, "4:memory:/\n3:cpu,cpuacct:/docker/x")
    write(root / folder / "docker/x/cpu.cfs_quota_us", "50000")
    write(root / folder / "docker/x/cpu.cfs_period_us", "100000")
    write(root / folder / "cpu.cfs_quota_us", "-1")
    write(root / folder / "cpu.cfs_period_us", "100000")
    assert cpu_quota(root, memberships) == 0.5


def test_without_a_limit_or_control_groups_there_is_none(root: Path, memberships: Path) -> None:
    assert cpu_quota(root, memberships) is None
    write(memberships, "0::/")
    write(root / "cpu.max", "max 100000")
    assert cpu_quota(root, memberships) is None
