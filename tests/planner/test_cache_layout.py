"""Planned KV caches serve what they are planned for in vLLM's own scheduler."""

from pathlib import Path

import pytest

from hetctl.model.tiny import write_tiny
from hetctl.planner import PlanRequest, make_plan
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from tests.runtime.scheduling.pipeline import BLOCK_SIZE, Pipeline, Stream, stage
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler


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
