"""Prompts beside running requests, as the runtime's scheduler divides them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.plan import Strategy
from hetctl.planner import PlanRequest
from hetctl.planner.chunks import STALL_S, fewest_chunks, longest_step_s, most_chunks
from hetctl.planner.decision import decide
from hetctl.planner.engine import Run
from hetctl.planner.pipeline import fastest
from hetctl.planner.placement import Placement
from hetctl.planner.steps import Steps
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from tests.planner.test_streamed_pipeline import Problem, cuts
from tests.planner.test_streamed_pipeline import problems as machines
from vllm_hetero import env
from vllm_hetero.scheduling import prefill_limit

PROMPTS = Workload(concurrency=8, input_len=2048, output_len=128, max_model_len=2304)


def placed(strategy: Strategy, load: Workload = PROMPTS) -> Placement:
    request = PlanRequest(gpu_memory_bytes=12 * GIB)
    decision = decide(machine(), model(), load, request)
    assert decision is not None
    found = (one.placement for one in decision.candidates if one.strategy == strategy)
    return next(one for one in found if one is not None)


def mixed_s(placement: Placement) -> float:
    stages = [stage.mixed_s for stage in placement.stages]
    together = max(stages) if placement.tensor_parallel > 1 else sum(stages)
    return together + placement.steps.mixed.engine_s


def test_the_constants_are_the_runtimes() -> None:
    assert env.DEFAULT_MAX_STALL_S == STALL_S
    assert longest_step_s(1.0, 1.0) == 1.0 + prefill_limit.LEAST_SHARE
    assert most_chunks(1000, 1) == -(-1000 // prefill_limit.SMALLEST_CHUNK)
    assert most_chunks(1000, 3) == -(-1000 // (3 * prefill_limit.SMALLEST_CHUNK))


@given(st.integers(1, 30), st.integers(1, 400), st.integers(1, 400), st.floats(0, 1e4))
def test_the_fewest_chunks_that_fit_are_found(
    least: int, most: int, enough: int, guess: float
) -> None:
    found = fewest_chunks(least, most, lambda chunks: chunks >= enough, guess)
    assert found == min(max(least, enough), max(least, most))


@pytest.mark.parametrize("strategy", ["pipeline", "pipeline-prefetch", "mixed-tp", "cpu"])
def test_a_chunk_keeps_running_requests_waiting_for_half_a_second_at_most(
    strategy: Strategy,
) -> None:
    placement = placed(strategy)
    steps = placement.steps
    assert mixed_s(placement) <= STALL_S
    # One chunk less would be too long, unless the batch allows no longer ones.
    if steps.chunks > 1:
        assert mixed_s(placement) * steps.chunks / (steps.chunks - 1) > 0.95 * STALL_S


def test_where_nothing_decodes_prompts_are_as_long_as_a_batch_allows() -> None:
    alone = PROMPTS.model_copy(update={"concurrency": 1})
    assert placed("cpu", alone).steps.chunks == 1
    assert mixed_s(placed("cpu", alone)) > 4 * STALL_S


def test_gpus_alone_have_vllms_own_chunks() -> None:
    assert placed("prefetch").steps.chunks == Steps.of(PROMPTS, 2048).chunks == 2


@pytest.mark.parametrize("chunks", [1, 2, 5, 40])
def test_as_many_decode_as_are_done_with_their_prompt_while_an_answer_lasts(chunks: int) -> None:
    load = PROMPTS.model_copy(update={"concurrency": 64})
    steps = Steps.of(load, 100_000, chunks)
    assert steps.mixed.decoding == min(63, 127 // chunks)
    assert steps.decode.decoding == steps.mixed.decoding + 1


@settings(max_examples=60, deadline=None)
@given(machines())
def test_a_split_that_is_best_for_other_chunks_is_not_far_from_the_best(problem: Problem) -> None:
    """Chunks depend on the split, and the split on them: two rounds come close."""
    placer = replace(problem.placer, stall_s=STALL_S)
    orders = problem.inventory.orders
    found = fastest(placer, orders)
    if found is None:
        return
    memory = placer.memory(orders[0])
    best = min(
        placer.place("pipeline", runs, memory).objective_s
        for order in orders
        for runs in cuts(order, 0, len(problem.spec.layers))
        if fits(runs, memory)
    )
    assert found.objective_s <= 1.01 * best


def fits(runs: list[Run], memory: Any) -> bool:
    return all(
        memory.needed(run.device, run.first, run.end) <= run.device.memory_limit_bytes
        for run in runs
    )
