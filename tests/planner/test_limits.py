"""Under limits on TTFT and TPOT, the chosen split equals brute force."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise, permutations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.plan import Plan
from hetctl.planner import Goal, PlanRequest, make_plan
from hetctl.planner.engine import Run
from hetctl.planner.frontier import Criteria, Key, WeighedOption, added, best_way, ways_to_begin
from hetctl.planner.memory import MemoryModel
from hetctl.planner.objective import OBJECTIVES
from hetctl.planner.partition import Stage
from hetctl.planner.pipeline import assigned, fastest
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.request import parse_strategy
from hetctl.planner.streamed_pipeline import Backend, streamed_pipeline
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from tests.planner.test_partition import feasible, problems, splits, uses
from tests.planner.test_streamed_pipeline import HOST, Problem, best_of_all, cuts
from tests.planner.test_streamed_pipeline import problems as machines

LIMITS = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def weighed(
    draw: st.DrawFn,
) -> tuple[list[WeighedOption], tuple[int, int], tuple[int, int]]:
    """Devices with three unlike times of each layer, and limits on two of them."""
    options, at_least = draw(problems())
    layers = len(options[0].time) - 1
    times = st.lists(st.integers(0, 20), min_size=layers, max_size=layers)
    found = []
    for option in options:
        second, third = (tuple(map(float, accumulate(draw(times), initial=0))) for _ in range(2))
        edges = tuple(
            (time, float(draw(st.integers(0, 5))), float(draw(st.integers(0, 5))))
            for time in option.edge_time
        )
        found.append(WeighedOption(option, (option.time, second, third), edges))  # type: ignore[arg-type]
    return found, at_least, draw(LIMITS)


def total(options: Sequence[WeighedOption], stages: Sequence[Stage]) -> Criteria:
    found = (0.0, 0.0, 0.0)
    for stage in stages:
        found = added(found, options[stage.option].stage(stage.first, stage.end))
    return found


@settings(max_examples=400, deadline=None)
@given(weighed())
def test_no_split_keeps_the_limits_better(
    problem: tuple[list[WeighedOption], tuple[int, int], tuple[int, int]],
) -> None:
    options, at_least, limits = problem

    def key(criteria: Criteria) -> Key:
        return max(1.0, criteria[1] / limits[0], criteria[2] / limits[1]), criteria[0]

    plain = [one.option for one in options]
    best = min(
        (
            key(total(options, stages))
            for stages in splits(plain)
            if feasible(stages, plain)
            and all(uses(stages, plain, g) >= at_least[g] for g in (0, 1))
        ),
        default=None,
    )
    found = best_way(options, at_least, key, (inf, inf))
    assert (found is None) == (best is None)
    if found is not None:
        assert key(found.criteria) == pytest.approx(best)
        assert found.criteria == pytest.approx(total(options, found.stages()))
        assert feasible(found.stages(), plain)
        assert best_way(options, at_least, key, key(found.criteria)) is None


@settings(max_examples=200, deadline=None)
@given(weighed())
def test_ways_to_begin_are_those_that_nothing_beats(
    problem: tuple[list[WeighedOption], tuple[int, int], tuple[int, int]],
) -> None:
    options, _, _ = problem
    plain = [one.option for one in options]
    layers = len(plain[0].time) - 1
    every = [total(options, stages) for stages in splits(plain) if feasible(stages, plain)]
    ways = [way.criteria for way in ways_to_begin(options, layers)[layers]]
    assert all(any(beats(way, one) for way in ways) for one in every)
    assert not any(beats(a, b) for a, b in permutations(ways, 2))


def beats(a: Criteria, b: Criteria) -> bool:
    """Whether ``a`` is at least as good in every criterion."""
    return all(x <= y for x, y in zip(a, b, strict=True))


@st.composite
def goals_around(draw: st.DrawFn, unlimited: Placement) -> Goal:
    """Limits around what the best without limits takes."""
    share = st.sampled_from([None, 0.3, 0.7, 0.9, 0.99, 1.1])
    ttft, tpot, found = draw(share), draw(share), unlimited.prediction
    return Goal(
        draw(st.sampled_from(OBJECTIVES)),
        ttft_s=ttft and found.ttft_s * ttft,
        tpot_s=tpot and found.tpot_s * tpot,
    )


def limited(placer: Placer, goal: Goal) -> Placer:
    return replace(placer, goal=goal)


@settings(max_examples=80, deadline=None)
@given(machines(), st.data())
def test_no_pipeline_keeps_the_limits_better(problem: Problem, data: st.DataObject) -> None:
    orders = problem.inventory.orders
    unlimited = fastest(problem.placer, orders)
    if unlimited is None:
        return
    placer = limited(problem.placer, data.draw(goals_around(unlimited)))
    memory = placer.memory(orders[0])
    best = min(
        placer.place("pipeline", runs, memory).key(placer.goal)
        for order in orders
        for runs in cuts(order, 0, len(problem.spec.layers))
        if holds(runs, memory)
    )
    found = fastest(placer, orders)
    assert found is not None
    assert found.key(placer.goal) == pytest.approx(best, rel=1e-9)


def holds(runs: Sequence[Run], memory: MemoryModel) -> bool:
    return all(
        memory.needed(run.device, run.first, run.end) <= run.device.memory_limit_bytes
        for run in runs
    )


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
@settings(max_examples=60, deadline=None)
@given(problem=machines(), data=st.data())
def test_no_pipeline_that_streams_keeps_the_limits_better(
    backend: Backend, problem: Problem, data: st.DataObject
) -> None:
    orders = problem.inventory.orders
    unlimited = streamed_pipeline(problem.placer, orders, HOST, backend)
    if unlimited is None:
        return
    placer = limited(problem.placer, data.draw(goals_around(unlimited)))
    best = best_of_all(problem, backend, placer)
    found = streamed_pipeline(placer, orders, HOST, backend)
    assert found is not None
    assert best is not None
    assert found.key(placer.goal) == pytest.approx(best.key(placer.goal), rel=1e-9)


def planned(goal: Goal, strategy: str = "pipeline-prefetch") -> Plan:
    request = PlanRequest(gpu_memory_bytes=9 * GIB, strategy=parse_strategy(strategy), goal=goal)
    return make_plan(machine(), model(), Workload(max_model_len=2048), request)


def test_a_limit_moves_layers_within_a_strategy_and_costs_throughput() -> None:
    free = planned(Goal())
    kept = planned(Goal(ttft_s=0.8 * free.prediction.ttft_s))
    assert kept.prediction.ttft_s <= 0.8 * free.prediction.ttft_s < free.prediction.ttft_s
    assert kept.prediction.output_tokens_per_s < free.prediction.output_tokens_per_s
    on_cpu = [sum(r.num_layers for r in p.ranks if r.device == "cpu") for p in (free, kept)]
    # The CPU is slow with prompts.
    assert on_cpu[1] < on_cpu[0]
    assert not any("Nothing keeps" in sentence for sentence in kept.explanation)


def test_where_no_split_keeps_a_limit_the_closest_is_said() -> None:
    free = planned(Goal(), "pipeline")
    tight = Goal(ttft_s=free.prediction.ttft_s / 10, tpot_s=free.prediction.tpot_s / 10)
    plan = planned(tight, "pipeline")
    assert any("Nothing keeps a TTFT of at most" in sentence for sentence in plan.explanation)
    assert goal_excess(tight, plan) <= goal_excess(tight, free)


def goal_excess(goal: Goal, plan: Plan) -> float:
    return goal.key(0.0, plan.prediction.ttft_s, plan.prediction.tpot_s)[0]


@settings(max_examples=60, deadline=None)
@given(machines(), st.data())
def test_given_stages_go_to_the_devices_that_keep_the_limits(
    problem: Problem, data: st.DataObject
) -> None:
    order = problem.inventory.orders[0]
    count = len(problem.spec.layers)
    inner = data.draw(st.sets(st.integers(1, count - 1), max_size=len(order) - 1))
    bounds = [0, *sorted(inner), count]
    split = [b - a for a, b in pairwise(bounds)]
    unlimited = assigned(problem.placer, order, split)
    if unlimited is None:
        return
    placer = limited(problem.placer, data.draw(goals_around(unlimited)))
    memory = placer.memory(order)
    best = min(
        placer.place("pipeline", runs, memory).key(placer.goal)
        for runs in cuts(order, 0, count)
        if [run.end - run.first for run in runs] == split and holds(runs, memory)
    )
    found = assigned(placer, order, split)
    assert found is not None
    assert found.key(placer.goal) == pytest.approx(best, rel=1e-9)
