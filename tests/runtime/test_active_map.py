"""The map as the engine completes it, and as a rank takes it over."""

import os
from collections.abc import Iterator

import pytest

from vllm_hetero import active_map, env
from vllm_hetero.rank_map import Rank, RankMap, RankMapError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    caches = (active_map.rank_map, env.role)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One node of six cores."""
    cpus = {0: list(range(6))}
    monkeypatch.setattr(active_map, "node_cpus", lambda: cpus)
    monkeypatch.setattr(active_map, "usable_cores", lambda: cpus)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))


def give(monkeypatch: pytest.MonkeyPatch, *ranks: Rank) -> None:
    monkeypatch.setenv(env.RANK_MAP, RankMap(ranks).to_json())


@pytest.mark.usefixtures("machine")
def test_the_engine_completes_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, Rank(0, "cpu", numa_node=0))
    assert active_map.rank_map(1).ranks[0].cpus == (1, 2, 3, 4, 5)


@pytest.mark.usefixtures("machine")
def test_the_engine_refuses_cpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, Rank(0, "cpu", cpus=(5, 6)))
    with pytest.raises(RankMapError, match="CPUs 6, but this process may use 0-5"):
        active_map.rank_map(1)


@pytest.mark.usefixtures("machine")
def test_a_rank_takes_the_map_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.ROLE, "cpu")
    give(monkeypatch, Rank(0, "cpu", cpus=(8,), numa_node=0))
    assert active_map.rank_map(1).ranks[0].cpus == (8,)
