"""What the engine refuses before any rank starts."""

import pytest

from vllm_hetero.engine_config import check_devices, check_groups
from vllm_hetero.rank_map import Rank, RankMap, RankMapError


def ranks_on(*devices: str) -> RankMap:
    return RankMap(tuple(Rank(i, device) for i, device in enumerate(devices)))


def test_a_gpu_that_is_not_visible_is_refused_by_name() -> None:
    ranks = ranks_on("cuda:0", "cpu", "cuda:1")
    check_devices(ranks, visible_gpus=2)
    with pytest.raises(RankMapError, match="rank 2 is on cuda:1, but 1 GPUs are visible"):
        check_devices(ranks, visible_gpus=1)


def test_a_tensor_parallel_group_of_both_kinds_is_refused() -> None:
    ranks = ranks_on("cuda:0", "cuda:1", "cpu", "cpu")
    check_groups(ranks, tensor_parallel_size=2)
    with pytest.raises(RankMapError, match="ranks 0 to 3 form one tensor-parallel group"):
        check_groups(ranks, tensor_parallel_size=4)


def test_pipelines_may_mix_in_any_order() -> None:
    check_groups(ranks_on("cpu", "cuda:0", "cpu", "cuda:1"), tensor_parallel_size=1)
