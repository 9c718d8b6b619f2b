"""What a rank finds in its environment, and what the engine finds afterwards."""

import os

import pytest

from vllm_hetero.rank_environment import RankEnvironment
from vllm_hetero.rank_map import Rank, RankMap

RANKS = RankMap((Rank(0, "cuda:0"), Rank(1, "cpu", cpus=(2, 3), numa_node=0), Rank(2, "cpu")))


@pytest.fixture
def environment() -> RankEnvironment:
    return RankEnvironment(RANKS, "/run/dir")


def test_a_cpu_rank_sees_no_gpu_and_has_a_thread_on_each_of_its_cpus(
    environment: RankEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/libgomp.so.1")
    with environment.configure_omp_envs(rank=1, local_rank=1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
        assert os.environ["VLLM_HETERO_ROLE"] == "cpu"
        assert os.environ["OMP_NUM_THREADS"] == "2"
        assert os.environ["GOMP_CPU_AFFINITY"] == "2 3"
        assert os.environ["CPU_VISIBLE_MEMORY_NODES"] == "0"
        assert RankMap.from_env(os.environ["VLLM_HETERO_RANK_MAP"]) == RANKS


def test_intel_openmp_is_pinned_in_its_own_words(
    environment: RankEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/libiomp5.so")
    with environment.configure_omp_envs(rank=1, local_rank=1):
        assert "proclist=[2,3]" in os.environ["KMP_AFFINITY"]
        assert "GOMP_CPU_AFFINITY" not in os.environ


def test_the_users_own_pinning_does_not_reach_a_pinned_rank(
    environment: RankEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_PLACES", "{0}")
    monkeypatch.setenv("OMP_PROC_BIND", "false")
    with environment.configure_omp_envs(rank=1, local_rank=1):
        assert "OMP_PLACES" not in os.environ
        assert "OMP_PROC_BIND" not in os.environ
    assert os.environ["OMP_PLACES"] == "{0}"


def test_an_unpinned_cpu_rank_has_a_thread_per_core_even_if_the_engine_has_one(
    environment: RankEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("vllm_hetero.rank_environment.usable_cores", lambda: {0: [0, 1], 1: [2]})
    with environment.configure_omp_envs(rank=2, local_rank=2):
        assert os.environ["OMP_NUM_THREADS"] == "3"


def test_the_engines_environment_is_as_before(environment: RankEnvironment) -> None:
    before = dict(os.environ)
    for rank in range(3):
        with environment.configure_omp_envs(rank=rank, local_rank=rank):
            assert os.environ["VLLM_HETERO_ROLE"] == ("cpu" if rank else "gpu")
    assert dict(os.environ) == before


def test_a_cpu_rank_compiles_no_kernels_for_gpus_beside_its_start(
    environment: RankEnvironment,
) -> None:
    with environment.configure_omp_envs(rank=1, local_rank=1):
        assert os.environ["HUMMING_DISABLE_PARALLEL_BUILD"] == "1"
    with environment.configure_omp_envs(rank=0, local_rank=0):
        assert "HUMMING_DISABLE_PARALLEL_BUILD" not in os.environ
