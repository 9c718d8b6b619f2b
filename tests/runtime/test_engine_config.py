"""What the engine refuses before any rank starts."""

import pytest

from vllm_hetero.engine_config import check_devices
from vllm_hetero.rank_map import Rank, RankMap, RankMapError


def ranks_on(*devices: str) -> RankMap:
    return RankMap(tuple(Rank(i, device) for i, device in enumerate(devices)))


def test_a_gpu_that_is_not_visible_is_refused_by_name() -> None:
    ranks = ranks_on("cuda:0", "cpu", "cuda:1")
    check_devices(ranks, visible_gpus=2)
    with pytest.raises(RankMapError, match="rank 2 is on cuda:1, but 1 GPUs are visible"):
        check_devices(ranks, visible_gpus=1)
