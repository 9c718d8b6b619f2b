"""The rank map when the user gives none: GPUs first, then NUMA nodes."""

from hypothesis import given
from hypothesis import strategies as st

from vllm_hetero.default_map import default_rank_map
from vllm_hetero.rank_table import cpu_ranges, describe

TWO_NODES = {0: list(range(8)), 1: list(range(8, 16))}


def test_two_gpus_and_two_nodes_make_the_seeds_example() -> None:
    ranks = default_rank_map(4, gpus=2, cores=TWO_NODES).ranks
    assert [rank.device for rank in ranks] == ["cuda:0", "cuda:1", "cpu", "cpu"]
    assert [rank.numa_node for rank in ranks] == [None, None, 0, 1]


def test_one_core_per_node_is_left_to_the_engine() -> None:
    (rank,) = default_rank_map(1, gpus=0, cores={0: [0, 1, 2, 3]}).ranks
    assert rank.cpus == (1, 2, 3)


def test_gpu_ranks_get_cores_too_of_a_quarter_at_most() -> None:
    cores = {0: list(range(16))}
    assert default_rank_map(2, gpus=1, cores=cores).ranks[1].cpus == tuple(range(2, 16))
    assert default_rank_map(9, gpus=8, cores=cores).ranks[8].cpus == tuple(range(4, 16))


def test_others_are_spread_over_the_nodes() -> None:
    ranks = default_rank_map(4, gpus=2, cores=TWO_NODES).ranks
    assert [len(rank.cpus) for rank in ranks] == [0, 0, 6, 6]


def test_no_more_threads_than_the_quota_pays_for() -> None:
    cores = {0: list(range(16))}
    assert len(default_rank_map(1, 0, cores, quota=4.5).ranks[0].cpus) == 4
    assert len(default_rank_map(1, 0, cores, quota=0.3).ranks[0].cpus) == 1
    assert len(default_rank_map(1, 0, cores, quota=64).ranks[0].cpus) == 15
    two = default_rank_map(2, 0, TWO_NODES, quota=6).ranks
    assert [len(rank.cpus) for rank in two] == [3, 3]


def test_a_small_node_gives_all_its_cores() -> None:
    (rank,) = default_rank_map(1, gpus=0, cores={0: [4, 5]}).ranks
    assert rank.cpus == (4, 5)


def test_ranks_that_share_a_node_divide_its_cores() -> None:
    ranks = default_rank_map(2, gpus=0, cores={0: [0, 1]}).ranks
    assert [rank.cpus for rank in ranks] == [(0,), (1,)]


def test_more_ranks_than_cores_take_turns() -> None:
    ranks = default_rank_map(3, gpus=0, cores={0: [0, 1]}).ranks
    assert [rank.cpus for rank in ranks] == [(0,), (1,), (0,)]


@given(
    world=st.integers(1, 12),
    gpus=st.integers(0, 4),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_every_cpu_rank_gets_cores_of_its_own_node(world: int, gpus: int, sizes: list[int]) -> None:
    cores = {node: list(range(node * 10, node * 10 + size)) for node, size in enumerate(sizes)}
    ranks = default_rank_map(world, gpus, cores)
    assert len(ranks.ranks) == world
    assert ranks.gpu_ranks == tuple(range(min(gpus, world)))
    for rank in ranks.ranks:
        if rank.is_cpu:
            assert rank.numa_node is not None
            assert rank.cpus
            assert set(rank.cpus) <= set(cores[rank.numa_node])


def test_the_table_shows_ranges() -> None:
    assert cpu_ranges((0, 1, 2, 8)) == "0-2,8"
    table = describe(default_rank_map(3, gpus=2, cores=TWO_NODES))
    assert table.splitlines()[-1].split() == ["2", "cpu", "0", "2-7", "even", "share", "-", "auto"]
