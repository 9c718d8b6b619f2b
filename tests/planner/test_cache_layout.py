"""Planned KV caches are what vLLM makes of the same layers, and serve what they are planned for.

vLLM's own functions decide here: how layers are grouped, whether a rank's memory is enough, how
many blocks there are, and, in its scheduler, whether requests get through.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm.v1.core.kv_cache_utils import (
    get_kv_cache_configs,
    get_max_concurrency_for_kv_cache_config,
)
from vllm.v1.core.single_type_kv_cache_manager import register_all_kvcache_specs
from vllm.v1.kv_cache_interface import (
    AttentionSpec,
    FullAttentionSpec,
    KVCacheConfig,
    SlidingWindowSpec,
)

from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.model.tiny import write_tiny
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.cache_layout import CacheLayout, cache_layout, pages_divide
from hetctl.planner.serving import Serving
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import gpu, machine, model, node
from tests.runtime.scheduling.pipeline import BLOCK_SIZE, Pipeline, Stream, stage
from vllm_hetero.kv_specs import alike_on_all_devices
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler

# Bytes of a key and a value in bfloat16, per channel.
CHANNEL_BYTES = 4

Kind = tuple[int | None, int]
"""Sliding window, and bytes per token."""


@dataclass(frozen=True)
class Problem:
    kinds: tuple[Kind, ...]
    """Of each layer."""
    bounds: tuple[int, ...]
    """Where stages begin and end."""
    serving: Serving

    @property
    def layout(self) -> CacheLayout:
        return cache_layout([layer(*kind) for kind in self.kinds], self.serving)

    @property
    def stages(self) -> list[tuple[int, int]]:
        return list(pairwise(self.bounds))


def layer(window: int | None, kv_bytes: int) -> LayerSpec:
    return (
        model()
        .layers[0]
        .model_copy(update={"sliding_window": window, "kv_bytes_per_token": kv_bytes})
    )


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to 14 layers of up to 4 kinds on up to 4 stages."""
    kind = st.tuples(
        st.sampled_from([None, None, 64, 100, 1024]), st.sampled_from([256, 512, 768, 1024, 1792])
    )
    kinds = draw(st.lists(kind, min_size=1, max_size=4))
    layers = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=14))
    cuts = draw(st.sets(st.integers(1, len(layers)), max_size=3)) - {len(layers)}
    return Problem(
        kinds=tuple(layers),
        bounds=(0, *sorted(cuts), len(layers)),
        serving=Serving(
            concurrency=draw(st.integers(1, 9)),
            max_model_len=draw(st.integers(1, 3000)),
            max_num_seqs=256,
            block_size=draw(st.sampled_from([16, 128])),
            max_num_batched_tokens=512,
            in_flight_tokens=draw(st.sampled_from([16, 512, 2048])),
        ),
    )


def configs(
    problem: Problem, memory: Sequence[int], cpus: Sequence[int] = ()
) -> list[KVCacheConfig]:
    """What vLLM makes of the layers on ranks that have so much memory for their KV cache.

    Args:
        cpus: Ranks whose attention does not find blocks by a stride.
    """
    specs = [
        {
            f"layer.{i}": replace(
                attention(problem.kinds[i], problem.serving),
                indexes_kv_by_block_stride=rank not in cpus,
            )
            for i in range(first, end)
        }
        for rank, (first, end) in enumerate(problem.stages)
    ]
    if cpus:
        specs = list(map(alike_on_all_devices, specs))
    return get_kv_cache_configs(engine(problem.serving), specs, list(memory))


def attention(kind: Kind, serving: Serving) -> AttentionSpec:
    window, kv_bytes = kind
    fields: dict[str, Any] = {
        "block_size": serving.block_size,
        "num_kv_heads": 1,
        "head_size": kv_bytes // CHANNEL_BYTES,
        "dtype": torch.bfloat16,
    }
    if window is None:
        return FullAttentionSpec(**fields)
    return SlidingWindowSpec(sliding_window=window, **fields)


def engine(serving: Serving) -> Any:
    """What the functions read of vLLM's configuration."""
    config = SimpleNamespace(
        model_config=SimpleNamespace(
            max_model_len=serving.max_model_len, original_max_model_len=serving.max_model_len
        ),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1),
        cache_config=SimpleNamespace(num_gpu_blocks_override=None),
        speculative_config=None,
        kv_transfer_config=None,
        max_in_flight_tokens=serving.in_flight_tokens,
    )
    register_all_kvcache_specs(config)
    return config


@settings(max_examples=500, deadline=None)
@given(problems())
def test_vllm_makes_the_planned_blocks_of_the_planned_bytes(problem: Problem) -> None:
    layout = problem.layout
    planned = [layout.bytes_on(*cut) for cut in problem.stages]
    found = configs(problem, planned)
    assert [one.num_blocks for one in found] == [layout.blocks] * len(found)
    for one, size in zip(found, planned, strict=True):
        assert sum(tensor.size for tensor in one.kv_cache_tensors) == size
    # One block is vLLM's own; the others are as many as it counts for the sequences.
    assert (layout.blocks - 1) / layout.blocks_per_sequence == problem.serving.concurrency
    for one in found:
        sequences = get_max_concurrency_for_kv_cache_config(engine(problem.serving), one)
        assert sequences == pytest.approx(layout.blocks / layout.blocks_per_sequence)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_cpu_ranks_are_refused_where_vllm_refuses_to_pad_for_them(problem: Problem) -> None:
    planned = [problem.layout.bytes_on(*cut) for cut in problem.stages]
    if pages_divide([layer(*kind) for kind in problem.kinds]):
        assert configs(problem, planned, cpus=[0])[0].num_blocks == problem.layout.blocks
    else:
        with pytest.raises(NotImplementedError, match="cannot be padded"):
            configs(problem, planned, cpus=[0])


@settings(max_examples=200, deadline=None)
@given(problems(), st.data())
def test_a_byte_less_on_any_stage_is_a_block_less(problem: Problem, data: st.DataObject) -> None:
    layout = problem.layout
    planned = [layout.bytes_on(*cut) for cut in problem.stages]
    planned[data.draw(st.sampled_from(range(len(planned))))] -= 1
    assert configs(problem, planned)[0].num_blocks == layout.blocks - 1


def windows(full_every: int, count: int, window: int) -> ModelSpec:
    """Layers with a window, of which each ``full_every``-th has none."""
    whole = model().layers[0]
    short = whole.model_copy(update={"sliding_window": window})
    layers = [short if (i + 1) % full_every else whole for i in range(count)]
    return model(layers=tuple(layers))


@pytest.mark.parametrize("split", [(24, 24), (7, 41), (47, 1), (16, 16, 16)])
@pytest.mark.parametrize(("length", "concurrency"), [(4096, 1), (8192, 8)])
def test_ranks_of_a_mixed_engine_get_what_vllm_asks_for(
    split: tuple[int, ...], length: int, concurrency: int
) -> None:
    """A model of the shape of Gemma 3: five of six layers with a window."""
    spec, where = windows(6, 48, 1024), machine([gpu(gib=80)], [node(gib=400)])
    load = Workload(concurrency=concurrency, max_model_len=length)
    ranks = len(split) - 1
    plan = make_plan(where, spec, load, PlanRequest(split=split, cpu_ranks=ranks))
    problem = Problem(
        kinds=tuple((one.sliding_window, one.kv_bytes_per_token) for one in spec.layers),
        bounds=(0, *(rank.layers[1] for rank in plan.ranks)),
        serving=Serving(
            concurrency=concurrency,
            max_model_len=length,
            max_num_seqs=plan.max_num_seqs,
            block_size=plan.block_size,
            max_num_batched_tokens=plan.max_num_batched_tokens,
            in_flight_tokens=plan.max_num_batched_tokens * len(split),
        ),
    )
    cpus = [rank.rank for rank in plan.ranks if rank.device == "cpu"]
    found = configs(problem, [rank.kv_cache_bytes for rank in plan.ranks], cpus)
    assert found[0].num_blocks > concurrency * problem.layout.blocks_per_sequence
    assert plan.kv_cache_tokens == concurrency * length


def test_gpus_alone_have_the_blocks_that_vllm_makes_of_what_the_fullest_has_left() -> None:
    """vLLM takes all that its budget leaves."""
    spec = windows(6, 48, 1024)
    load = Workload(concurrency=2, max_model_len=8192)
    where = machine([gpu(0, gib=24), gpu(1, gib=40)], nodes=0)
    plan = make_plan(where, spec, load, PlanRequest(split=(17, 31)))
    problem = Problem(
        kinds=tuple((one.sliding_window, one.kv_bytes_per_token) for one in spec.layers),
        bounds=(0, *(rank.layers[1] for rank in plan.ranks)),
        serving=Serving(2, 8192, 256, plan.block_size, 0, 3 * plan.max_num_batched_tokens),
    )
    free = [r.memory_limit_bytes - r.used_bytes + r.kv_cache_bytes for r in plan.ranks]
    found = configs(problem, free)
    sizes = [sum(tensor.size for tensor in one.kv_cache_tensors) for one in found]
    assert sizes == [rank.kv_cache_bytes for rank in plan.ranks]
    assert plan.kv_cache_tokens >= 2 * 8192


@pytest.mark.parametrize("concurrency", [1, 3])
def test_requests_that_fill_their_context_all_end(concurrency: int, tmp_path: Path) -> None:
    """A mixed plan has KV cache for no more than was asked for."""
    load = Workload(concurrency=concurrency, max_model_len=1280, input_len=1000, output_len=280)
    plan = make_plan(machine(), model(), load, PlanRequest(gpu_memory_bytes=12 * GIB))
    (blocks,) = {
        rank.kv_cache_bytes / (rank.num_layers * plan.block_size * 4096) for rank in plan.ranks
    }
    assert blocks == int(blocks)
    write_tiny(tmp_path / "tiny")
    stages = [stage(0.01, 0.0001)] * 2
    # The simulation has blocks of its own size: so many tokens, and vLLM's own block.
    pool = (int(blocks) - 1) * plan.block_size // BLOCK_SIZE + 1
    pipeline = Pipeline(tmp_path / "tiny", HeterogeneousScheduler, stages, blocks=pool)
    streams = [Stream(str(i), 0.0, load.input_len, load.output_len) for i in range(concurrency)]
    pipeline.run(streams, until_s=60)
    assert [stream.tokens for stream in streams] == [one.expected_tokens for one in streams]
