"""The table of ranks, as it stands in the engine's log."""

from vllm_hetero.rank_map import Rank, RankMap
from vllm_hetero.rank_table import Held, describe
from vllm_hetero.weight_memory import anonymous_bytes

GIB = 1 << 30
RANKS = RankMap(
    (
        Rank(0, "cuda:0", layers=(0, 24), kv_cache_bytes=2 * GIB),
        Rank(1, "cpu", layers=(24, 32), cpus=(1, 2, 3, 8), numa_node=0),
    )
)


def test_before_the_start_it_says_what_the_map_says() -> None:
    assert describe(RANKS).splitlines() == [
        "rank  device  NUMA node  CPUs   layers  weights  KV cache",
        "0     cuda:0  -          -      0..23   -        2.00 GiB",
        "1     cpu     0          1-3,8  24..31  -        auto",
    ]


def test_afterwards_it_says_what_each_rank_holds() -> None:
    held = [Held((0, 24), 11 * GIB, 2 * GIB), Held((24, 32), 5 * GIB, GIB)]
    assert describe(RANKS, held).splitlines()[1:] == [
        "0     cuda:0  -          -      0..23   11.00 GiB  2.00 GiB",
        "1     cpu     0          1-3,8  24..31  5.00 GiB   1.00 GiB",
    ]


def test_a_process_s_own_memory_grows_by_what_it_allocates() -> None:
    before = anonymous_bytes()
    block = bytearray(b"x" * (64 << 20))
    assert 60 << 20 < anonymous_bytes() - before < 140 << 20
    del block
