"""Which CPUs a process may use, read from a made-up /sys."""

import os
from pathlib import Path

import pytest

from vllm_hetero.topology import parse_cpu_list, physical_cores, usable_cores


def make_sys(root: Path, nodes: dict[int, str], siblings: dict[int, str]) -> Path:
    for node, cpus in nodes.items():
        folder = root / f"node/node{node}"
        folder.mkdir(parents=True)
        (folder / "cpulist").write_text(cpus + "\n")
    for cpu, text in siblings.items():
        folder = root / f"cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return root


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch):
    def set_affinity(*cpus: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cpus))

    return set_affinity


def test_parses_the_kernels_list_format() -> None:
    assert parse_cpu_list("0-2,8\n") == [0, 1, 2, 8]
    assert parse_cpu_list("\n") == []


def test_takes_one_of_each_pair_of_siblings(tmp_path: Path, allow) -> None:
    allow(0, 1, 2, 3)
    pairs = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    assert usable_cores(make_sys(tmp_path, {0: "0-3"}, pairs)) == {0: [0, 1]}


def test_leaves_out_what_the_process_may_not_use(tmp_path: Path, allow) -> None:
    allow(5, 6)
    sys = make_sys(tmp_path, {0: "0-3", 1: "4-7"}, {})
    assert usable_cores(sys) == {1: [5, 6]}


def test_a_kernel_without_numa_has_node_0(tmp_path: Path, allow) -> None:
    allow(0, 1)
    assert usable_cores(tmp_path) == {0: [0, 1]}


def test_a_core_is_all_its_siblings(tmp_path: Path, allow) -> None:
    allow(0, 1)
    pairs = {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}
    assert physical_cores(make_sys(tmp_path, {0: "0-3"}, pairs)) == [(0, 2), (1, 3)]
