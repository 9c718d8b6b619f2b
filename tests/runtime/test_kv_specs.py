"""Ranks of different devices describe the KV cache of one layer alike."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from vllm.v1.kv_cache_interface import FullAttentionSpec, MambaSpec

from vllm_hetero import worker
from vllm_hetero.kv_specs import alike_on_all_devices
from vllm_hetero.rank_map import Rank, RankMap

ON_CPU = FullAttentionSpec(block_size=128, num_kv_heads=2, head_size=64, dtype=torch.bfloat16)
ON_GPU = replace(ON_CPU, indexes_kv_by_block_stride=True)


def test_only_the_strides_are_left_out() -> None:
    assert ON_GPU != ON_CPU
    assert alike_on_all_devices({"layer": ON_GPU}) == alike_on_all_devices({"layer": ON_CPU})
    other = replace(ON_GPU, num_kv_heads=4)
    assert alike_on_all_devices({"layer": other}) != alike_on_all_devices({"layer": ON_CPU})


def test_what_is_no_attention_is_left_as_it_is() -> None:
    state = MambaSpec(block_size=128, shapes=((4, 8),), dtypes=(torch.float32,))
    assert alike_on_all_devices({"layer": state}) == {"layer": state}


@pytest.mark.parametrize(
    ("devices", "told"),
    [(("cuda:0", "cpu"), ON_CPU), (("cuda:0", "cuda:1"), ON_GPU)],
    ids=["with a CPU rank", "GPUs alone"],
)
def test_the_ranks_of_a_mixed_engine_leave_the_strides_out(
    devices: tuple[str, ...], told: FullAttentionSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = RankMap(tuple(Rank(i, device) for i, device in enumerate(devices)))
    monkeypatch.setattr(worker, "rank_map", lambda _: ranks)
    monkeypatch.setattr(worker.DeviceWorker, "get_kv_cache_spec", lambda _: {"layer": ON_GPU})
    rank = object.__new__(worker.HeterogeneousWorker)
    rank.vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(world_size=2))
    assert rank.get_kv_cache_spec() == {"layer": told}
