"""What the engine refuses before any rank starts."""

import math

import pytest

from vllm_hetero import env
from vllm_hetero.engine_config import check_devices, check_variables
from vllm_hetero.rank_map import Rank, RankMap, RankMapError


def ranks_on(*devices: str) -> RankMap:
    return RankMap(tuple(Rank(i, device) for i, device in enumerate(devices)))


def test_a_gpu_that_is_not_visible_is_refused_by_name() -> None:
    ranks = ranks_on("cuda:0", "cpu", "cuda:1")
    check_devices(ranks, visible_gpus=2)
    with pytest.raises(RankMapError, match="rank 2 is on cuda:1, but 1 GPUs are visible"):
        check_devices(ranks, visible_gpus=1)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("VLLM_HETERO_CPU_KV_CACHE_BYTES", "4GiB", "'4GiB' is no number of bytes"),
        ("VLLM_HETERO_CPU_KV_CACHE_BYTES", "-1", "'-1' is no number of bytes"),
        ("VLLM_HETERO_CPU_KV_CACHE_BYTES", "0", "'0' is no number of bytes"),
        ("VLLM_HETERO_HOP", "tcp", "'tcp' is unknown; use shm or gloo"),
        ("VLLM_HETERO_CPU_LINEAR", "fastest", "'fastest' is unknown; use one of auto, onednn"),
        ("VLLM_HETERO_STALL_TIMEOUT_S", "soon", "'soon' is no number of seconds"),
        ("VLLM_HETERO_START_TIMEOUT_S", "-5", "'-5' is no number of seconds"),
        ("VLLM_HETERO_START_TIMEOUT_S", "inf", "'inf' is no number of seconds"),
    ],
)
def test_a_malformed_variable_is_refused_in_the_engine(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    check_variables()
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"{variable}={said}"):
        check_variables()


def test_a_limit_of_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.STALL_TIMEOUT_S, "0")
    assert env.seconds(env.STALL_TIMEOUT_S, 300) == math.inf
    monkeypatch.setenv(env.STALL_TIMEOUT_S, "2.5")
    assert env.seconds(env.STALL_TIMEOUT_S, 300) == 2.5
