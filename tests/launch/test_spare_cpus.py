"""Clients and the API server keep clear of the threads that compute, where there is room."""

import os
import threading

import pytest

from hetctl.launch import spare_cpus as module
from hetctl.launch.command import LaunchCommand
from hetctl.launch.spare_cpus import bind_api_server, spare_cpus
from tests.bench import sample
from vllm_hetero.rank_map import Rank, RankMap


def command(*ranks: Rank) -> LaunchCommand:
    env = {"VLLM_HETERO_RANK_MAP": RankMap(ranks).to_json()} if ranks else {}
    return sample.command().model_copy(update={"env": env})


def cpu_rank(index: int, *cpus: int) -> Rank:
    return Rank(index, "cpu", cpus=cpus, numa_node=0)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "physical_cores", lambda: [(i,) for i in range(8)])
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)))


def test_they_run_where_no_rank_computes() -> None:
    assert spare_cpus(command(cpu_rank(0, 2, 3, 4, 5, 6, 7))) == {0, 1}
    hybrid = command(Rank(0, "cuda:0"), cpu_rank(1, 3, 4, 5, 6, 7))
    assert spare_cpus(hybrid) == {0, 1, 2}


def test_one_cpu_beyond_those_of_the_engine_and_the_gpu_ranks_is_the_least() -> None:
    assert spare_cpus(command(cpu_rank(0, *range(1, 8)))) == frozenset()
    hybrid = command(Rank(0, "cuda:0"), cpu_rank(1, 2, 3, 4, 5, 6, 7))
    assert spare_cpus(hybrid) == frozenset()


def test_without_cpu_ranks_there_is_nothing_to_keep_clear_of() -> None:
    assert spare_cpus(command()) == frozenset()


def test_every_thread_of_the_api_server_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    allowed = os.sched_getaffinity(0)
    chosen = frozenset([max(allowed)])
    monkeypatch.setattr(module, "spare_cpus", lambda _: chosen)
    started, end = threading.Event(), threading.Event()
    bound: list[set[int]] = []

    def other() -> None:
        started.set()
        end.wait(20)
        bound.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=other)
    thread.start()
    started.wait(20)
    try:
        bind_api_server(os.getpid(), command())
        assert os.sched_getaffinity(0) == chosen
    finally:
        end.set()
        thread.join()
        monkeypatch.setattr(module, "spare_cpus", lambda _: frozenset(allowed))
        bind_api_server(os.getpid(), command())
    assert bound == [chosen]
    assert os.sched_getaffinity(0) == allowed
