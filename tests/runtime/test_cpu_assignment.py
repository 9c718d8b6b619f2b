"""Which CPUs ranks, the engine and GPU ranks get on made-up machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_hetero.cpu_assignment import check_cpus, memory_nodes, other_cpus, with_cpus
from vllm_hetero.rank_map import Rank, RankMap, RankMapError

TWO_NODES = {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]}
ALL = set(range(8))


def ranks_of(*ranks: Rank) -> RankMap:
    return RankMap(ranks)


def cpu(rank: int, cpus: tuple[int, ...] = (), node: int | None = None) -> Rank:
    return Rank(rank, "cpu", cpus=cpus, numa_node=node)


def test_a_rank_that_names_only_a_node_gets_its_cores_but_one() -> None:
    found = with_cpus(ranks_of(cpu(0, node=1)), TWO_NODES)
    assert found.ranks[0].cpus == (5, 6, 7)


def test_ranks_that_name_one_node_divide_its_cores() -> None:
    found = with_cpus(ranks_of(cpu(0, node=0), cpu(1, node=0)), {0: [0, 1, 2, 3, 4]})
    assert [rank.cpus for rank in found.ranks] == [(1, 2), (3, 4)]


def test_a_rank_gets_no_more_cores_than_the_quota_pays_for() -> None:
    found = with_cpus(ranks_of(cpu(0, node=1)), TWO_NODES, quota=4)
    assert found.ranks[0].cpus == (5, 6)


def test_cores_that_a_rank_names_are_left_to_it() -> None:
    found = with_cpus(ranks_of(cpu(0, cpus=(0, 1), node=0), cpu(1, node=0)), TWO_NODES)
    assert [rank.cpus for rank in found.ranks] == [(0, 1), (2, 3)]


def test_a_rank_without_a_node_stays_unpinned() -> None:
    found = with_cpus(ranks_of(Rank(0, "cuda:0"), cpu(1)), TWO_NODES)
    assert [rank.cpus for rank in found.ranks] == [(), ()]


@given(
    nodes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    asked=st.lists(st.integers(0, 2), min_size=1, max_size=5),
)
def test_every_rank_with_a_node_gets_cores_of_it(nodes: list[int], asked: list[int]) -> None:
    cores = {i: list(range(10 * i, 10 * i + size)) for i, size in enumerate(nodes)}
    ranks = ranks_of(*(cpu(i, node=node % len(nodes)) for i, node in enumerate(asked)))
    for rank in with_cpus(ranks, cores).ranks:
        assert rank.numa_node is not None
        assert rank.cpus
        assert set(rank.cpus) <= set(cores[rank.numa_node])


@pytest.mark.parametrize(
    ("rank", "nodes"),
    [
        (cpu(0, cpus=(0, 5), node=1), (1,)),
        (cpu(0, cpus=(4, 5)), (1,)),
        (cpu(0, cpus=(3, 4)), (0, 1)),
        (cpu(0), (0, 1)),
    ],
)
def test_memory_comes_from_the_named_node_or_those_of_the_cpus(
    rank: Rank, nodes: tuple[int, ...]
) -> None:
    assert memory_nodes(rank, {0: [0, 1], 1: [4]}, TWO_NODES) == nodes


def test_a_rank_without_cpus_takes_memory_where_cores_may_be_used() -> None:
    assert memory_nodes(cpu(0), {1: [4]}, TWO_NODES) == (1,)


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(RankMapError, match=r"rank 0 is on NUMA node 3, but this machine has 0, 1"):
        check_cpus(ranks_of(cpu(0, node=3)), TWO_NODES, ALL)


def test_cpus_that_may_not_be_used_are_refused() -> None:
    with pytest.raises(RankMapError, match=r"names CPUs 4-5, but this process may use 0-3"):
        check_cpus(ranks_of(cpu(0, cpus=(3, 4, 5))), TWO_NODES, {0, 1, 2, 3})


def test_cpus_beside_the_memorys_node_are_warned_of() -> None:
    (warning,) = check_cpus(ranks_of(cpu(0, cpus=(3, 4, 5), node=0)), TWO_NODES, ALL)
    assert "NUMA node 0 on CPUs 4-5" in warning
    assert check_cpus(ranks_of(cpu(0, cpus=(4, 5), node=1)), TWO_NODES, ALL) == []


ONE_EACH = [(i,) for i in range(8)]
PAIRS = [(i, i + 4) for i in range(4)]


def test_engine_and_gpu_ranks_get_what_the_cpu_ranks_leave() -> None:
    ranks = ranks_of(Rank(0, "cuda:0"), cpu(1, cpus=(2, 3, 4, 5, 6, 7)))
    assert other_cpus(ranks, ONE_EACH, ALL) == {0, 1}


def test_whole_cores_come_before_siblings_of_busy_ones() -> None:
    ranks = ranks_of(cpu(0, cpus=(1, 2, 3)))
    assert other_cpus(ranks, PAIRS, ALL) == {0, 4}
    assert other_cpus(ranks_of(cpu(0, cpus=(0, 1, 2, 3))), PAIRS, ALL) == {4, 5, 6, 7}


def test_without_a_cpu_for_each_nothing_is_bound() -> None:
    ranks = ranks_of(Rank(0, "cuda:0"), cpu(1, cpus=(1, 2, 3, 4, 5, 6, 7)))
    assert other_cpus(ranks, ONE_EACH, ALL) == set()
    assert other_cpus(ranks_of(cpu(0)), ONE_EACH, ALL) == set()


def test_cpus_that_may_not_be_used_are_not_given_to_the_engine() -> None:
    assert other_cpus(ranks_of(cpu(0, cpus=(1,))), ONE_EACH, {0, 1}) == {0}
