"""Real measuring processes: bound like ranks, with the kernels of ranks, on small work."""

import os
import statistics
from collections.abc import Iterator

import pytest

from hetctl.calibrate.rank_process import MeasurementError, RankProcess
from vllm_hetero.rank_environment import RankEnvironment
from vllm_hetero.rank_map import Rank, RankMap

CPUS = sorted(os.sched_getaffinity(0))
START_S = 180
ANSWER_S = 60

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RankProcess]]:
    """Two, of which the first has the kernels."""
    folder = tmp_path_factory.mktemp("logs")
    entries = RankMap(tuple(Rank(i, "cpu", cpus=(CPUS[i],), numa_node=0) for i in range(2)))
    environment = RankEnvironment(entries, str(folder))
    processes = [
        RankProcess(f"rank {i}", i, environment, {}, folder / f"{i}.log", kernels=i == 0)
        for i in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.wait_ready(START_S)
    yield processes
    for process in processes:
        process.stop()


def measured(process: RankProcess, **command: object) -> dict[str, list[float]]:
    process.send(command)
    samples: dict[str, list[float]] = process.receive(ANSWER_S, "measuring")["samples"]
    return samples


def test_memory_is_read_at_a_possible_rate(ranks: list[RankProcess]) -> None:
    (rates,) = measured(ranks[0], measure="memory", budget_s=0.2, nbytes=64 << 20).values()
    assert 1e8 < statistics.median(rates) < 1e12


def test_what_is_bound_to_a_node_is_read_as_well(ranks: list[RankProcess]) -> None:
    try:
        (rates,) = measured(
            ranks[0], measure="memory", budget_s=0.2, nbytes=64 << 20, node=0
        ).values()
    except MeasurementError as error:
        pytest.skip(str(error))
    assert 1e8 < statistics.median(rates) < 1e12


def test_a_node_that_is_not_there_is_refused_in_a_sentence(ranks: list[RankProcess]) -> None:
    with pytest.raises(MeasurementError, match="memory cannot be bound to NUMA node 999: "):
        measured(ranks[0], measure="memory", budget_s=0.2, nbytes=1 << 20, node=999)


def test_attention_and_layers_run_on_vllms_kernels(ranks: list[RankProcess]) -> None:
    # Room for 8 sequences of 2,048 tokens, and not for 64.
    rates = measured(ranks[0], measure="attention", budget_s=0.2, nbytes=64 << 20)
    assert list(rates) == ["1", "8"]
    (seconds,) = measured(ranks[0], measure="layer", budget_s=0.2).values()
    assert 1e-5 < statistics.median(seconds) < 0.1


def test_kernels_that_are_not_there_fail_and_memory_does_not(ranks: list[RankProcess]) -> None:
    with pytest.raises(MeasurementError, match="kernels cannot be loaded: they were not asked for"):
        measured(ranks[1], measure="layer", budget_s=0.2)
    assert measured(ranks[1], measure="memory", budget_s=0.1, nbytes=16 << 20)


def test_memory_is_read_until_the_word_comes(ranks: list[RankProcess]) -> None:
    ranks[1].send({"measure": "memory-until-told", "nbytes": 16 << 20})
    assert ranks[1].receive(ANSWER_S, "filling memory") == {"say": "reading"}
    ranks[1].send({})
    assert ranks[1].receive(ANSWER_S, "ending")["samples"]["0"] is not None
    assert measured(ranks[1], measure="memory", budget_s=0.1, nbytes=16 << 20)


@pytest.mark.parametrize("what", ["hop", "all-reduce"])
def test_messages_pass_between_two_ranks(what: str, ranks: list[RankProcess]) -> None:
    leader, maker = ranks
    maker.send({"measure": what, "paths": None, "peer_on_gpu": False})
    paths = maker.receive(ANSWER_S, "making the shared memory")["say"]
    samples = measured(leader, measure=what, paths=paths, peer_on_gpu=False)
    assert maker.receive(ANSWER_S, "answering")["samples"] == {}
    medians = {int(size): statistics.median(times) for size, times in samples.items()}
    assert (min(medians), max(medians)) == (8 << 10, 64 << 20)
    assert 1e-6 < medians[8 << 10] < medians[64 << 20] < 10
