"""What a load takes: one batch at a time, several, and prompts beside them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.planner.chunks import STALL_S
from hetctl.planner.load_time import StepTimes, cycle_s, load_time
from hetctl.planner.pipeline import fastest
from hetctl.planner.steps import Step, Steps
from hetctl.workload import Workload
from tests.planner.test_chunks import fits
from tests.planner.test_streamed_pipeline import Problem, cuts
from tests.planner.test_streamed_pipeline import problems as machines

LOADS = st.builds(
    Workload,
    concurrency=st.integers(1, 100),
    input_len=st.integers(1, 5000),
    output_len=st.integers(1, 200),
)
COSTS = st.tuples(st.floats(1e-3, 0.1), st.floats(1e-5, 1e-2))
STAGES = st.lists(COSTS, min_size=1, max_size=4)


def times(steps: Steps, stages: list[tuple[float, float]]) -> StepTimes:
    """Of stages that take a fixed time and a time for each token."""

    def of(step: Step) -> list[float]:
        return [fixed + each * step.rows if step.rows else 0.0 for fixed, each in stages]

    return StepTimes(of(steps.decode), of(steps.mixed), of(steps.part), of(steps.background))


@given(LOADS, STAGES, st.integers(1, 5))
def test_one_batch_at_a_time_is_the_sum_that_is_searched_for(
    load: Workload, stages: list[tuple[float, float]], chunks: int
) -> None:
    steps = Steps.of(load, 2048, chunks)
    found = load_time(steps, times(steps, stages), overlap=False)
    kinds = times(steps, stages)
    decode, mixed, background = (
        sum(stage) + step.engine_s
        for stage, step in (
            (kinds.decode, steps.decode),
            (kinds.mixed, steps.mixed),
            (kinds.background, steps.background),
        )
    )
    assert found.ttft_s == pytest.approx(steps.ttft_s(mixed))
    if load.output_len > 1:
        assert found.tpot_s == pytest.approx(steps.tpot_s(decode, mixed, background))
    assert found.per_token_s == pytest.approx(steps.per_token_s(decode, mixed, background))


@given(LOADS, COSTS)
def test_one_stage_has_nothing_to_overlap_with(load: Workload, cost: tuple[float, float]) -> None:
    steps = Steps.of(load, 2048)
    own = times(steps, [cost])
    serial, overlapping = (load_time(steps, own, overlap) for overlap in (False, True))
    assert overlapping.per_token_s == pytest.approx(serial.per_token_s)


@given(LOADS, STAGES)
def test_overlap_only_gains_and_never_more_than_the_longest_stage_leaves(
    load: Workload, stages: list[tuple[float, float]]
) -> None:
    steps = Steps.of(load, 2048)
    serial, overlapping = (
        load_time(steps, times(steps, stages), overlap).per_token_s for overlap in (False, True)
    )
    assert serial / len(stages) * 0.99 <= overlapping <= serial * 1.0001


def test_as_many_batches_as_like_stages_take_as_long_as_one_of_them() -> None:
    """Of reading weights nothing is gained: each batch reads them."""
    load = Workload(concurrency=8, input_len=1, output_len=1000)
    reading, computing = [(0.05, 0.0)] * 2, [(0.0, 0.01)] * 2

    def decode(stages: list[tuple[float, float]], batches: int) -> float:
        steps = Steps.of(load, 2048, batches=batches)
        return load_time(steps, times(steps, stages), overlap=True).decode_s

    assert decode(reading, 2) == pytest.approx(decode(reading, 1), rel=0.02)
    assert decode(computing, 2) == pytest.approx(decode(computing, 1) / 2, rel=0.02)
    assert decode([(0.05, 0.0), (0.01, 0.0)], 2) > 1.5 * decode([(0.05, 0.0), (0.01, 0.0)], 1)


def test_requests_are_divided_among_batches_and_prompts_are_too() -> None:
    load = Workload(concurrency=9, input_len=1000, output_len=100)
    steps = Steps.of(load, 2048, chunks=2, batches=2)
    assert (steps.decode.decoding, steps.background.decoding) == (5, 4)
    assert (steps.mixed.prompt_tokens, steps.part.prompt_tokens) == (500, 250)
    # Two batches of 2,048 hold a longer prompt than one.
    long = load.model_copy(update={"input_len": 3000})
    assert Steps.of(long, 2048).chunks == 2
    assert Steps.of(long, 2048, batches=2).chunks == 1


def test_nothing_is_asked_of_an_engine_without_rows() -> None:
    assert cycle_s([1.0, 2.0], Step(0, 0.0)) == 0
    step = Step(4, 10.0)
    assert cycle_s([1.0, 2.0], step) == 3 + step.engine_s
    assert cycle_s([1.0, 2.0], step, 2) == 4
    assert cycle_s([1.0, 1.0], step, 2) == 2 + step.engine_s


def test_prompts_that_are_all_there_is_follow_one_another() -> None:
    load = Workload(concurrency=4, input_len=4096, output_len=1)
    steps = Steps.of(load, 2048)
    stages = times(steps, [(0.0, 1e-3)] * 3)
    found = load_time(steps, stages, overlap=True)
    chunk = stages.mixed[0]
    # The first goes through three stages; the others behind it, of four prompts of two chunks.
    assert found.ttft_s == pytest.approx((3 + 7) * chunk, rel=0.01)
    assert load_time(steps, stages, overlap=False).ttft_s == pytest.approx(24 * chunk, rel=0.01)


@settings(max_examples=80, deadline=None)
@given(machines())
def test_the_split_for_all_that_is_in_flight_is_hardly_beaten(problem: Problem) -> None:
    """It is searched for as if there were one batch."""
    placer = replace(problem.placer, stall_s=STALL_S, overlap=True)
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
    assert best * (1 - 1e-9) <= found.objective_s <= 1.03 * best
