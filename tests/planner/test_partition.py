"""The dynamic program equals brute force over every subset of devices and every cut."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, combinations, pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.planner.balance import balanced
from hetctl.planner.partition import (
    Stage,
    StageOption,
    best_assignment,
    best_partition,
    most_even,
    stage_memory,
    stage_time,
)
from hetctl.planner.shared_pages import SharedPages

SETTINGS = settings(max_examples=400, deadline=None)


@st.composite
def shared_pages(draw: st.DrawFn, layers: int) -> SharedPages:
    """Layers of two kinds in any order, each dealt to some groups."""
    kinds = draw(st.lists(st.booleans(), min_size=layers, max_size=layers))
    counts = [tuple(accumulate((k == kind for k in kinds), initial=0)) for kind in (True, False)]
    groups = [draw(st.integers(1, 3)) for _ in counts]
    return SharedPages(draw(st.integers(1, 8)), tuple(zip(counts, groups, strict=True)))


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[StageOption], tuple[int, int]]:
    """Up to 6 unlike layers over up to 4 devices, some too small for anything."""
    layers = draw(st.integers(1, 6))
    weights = draw(st.lists(st.integers(0, 9), min_size=layers, max_size=layers))
    shared = draw(st.none() | shared_pages(layers))
    options = []
    for _ in range(draw(st.integers(1, 4))):
        times = draw(st.lists(st.integers(0, 20), min_size=layers, max_size=layers))
        options.append(
            StageOption(
                time=tuple(float(t) for t in accumulate(times, initial=0)),
                memory=tuple(accumulate(weights, initial=0)),
                edge_time=tuple(float(draw(st.integers(0, 8))) for _ in range(4)),
                edge_memory=tuple(draw(st.integers(0, 6)) for _ in range(4)),
                limit=draw(st.integers(0, 40)),
                group=draw(st.integers(0, 1)),
                mandatory=draw(st.sampled_from([False, False, False, True])),
                shared=shared,
            )
        )
    return options, (draw(st.integers(0, 2)), draw(st.integers(0, 2)))


def splits(options: Sequence[StageOption]) -> Iterator[tuple[Stage, ...]]:
    """Every way to cut the layers over every subset of the devices, in order."""
    layers = len(options[0].time) - 1
    for used in range(1, len(options) + 1):
        for chosen in combinations(range(len(options)), used):
            if any(o.mandatory and i not in chosen for i, o in enumerate(options)):
                continue
            for cuts in combinations(range(1, layers), used - 1):
                bounds = (0, *cuts, layers)
                yield tuple(
                    Stage(option, bounds[i], bounds[i + 1]) for i, option in enumerate(chosen)
                )


def feasible(stages: Sequence[Stage], options: Sequence[StageOption]) -> bool:
    return all(
        stage_memory(options[s.option], s.first, s.end) <= options[s.option].limit for s in stages
    )


def total_time(stages: Sequence[Stage], options: Sequence[StageOption]) -> float:
    return sum(stage_time(options[s.option], s.first, s.end) for s in stages)


def uses(stages: Sequence[Stage], options: Sequence[StageOption], group: int) -> int:
    return sum(options[s.option].group == group for s in stages)


@SETTINGS
@given(problems())
def test_partition_is_the_best_of_all(
    problem: tuple[list[StageOption], tuple[int, int]],
) -> None:
    options, at_least = problem
    best = min(
        (
            total_time(stages, options)
            for stages in splits(options)
            if feasible(stages, options)
            and all(uses(stages, options, g) >= at_least[g] for g in (0, 1))
        ),
        default=inf,
    )
    found = best_partition(options, at_least)
    assert (found is None) == (best == inf)
    if found is not None:
        assert found.time == pytest.approx(best)
        assert found.time == pytest.approx(total_time(found.stages, options))
        assert feasible(found.stages, options)
        assert found.stages in list(splits(options))


@SETTINGS
@given(problems(), st.integers(0, 40))
def test_no_stage_takes_longer_than_it_may(
    problem: tuple[list[StageOption], tuple[int, int]], most: int
) -> None:
    options, at_least = problem
    held = [replace(option, most_time=float(most)) for option in options]
    best = min(
        (
            total_time(stages, options)
            for stages in splits(options)
            if feasible(stages, options)
            and longest(stages, options) <= most
            and all(uses(stages, options, g) >= at_least[g] for g in (0, 1))
        ),
        default=inf,
    )
    found = best_partition(held, at_least)
    assert (found is None) == (best == inf)
    if found is not None:
        assert found.time == pytest.approx(best)
        assert longest(found.stages, options) <= most


@SETTINGS
@given(problems())
def test_the_slowest_stage_of_the_most_even_split_is_the_fastest_there_is(
    problem: tuple[list[StageOption], tuple[int, int]],
) -> None:
    options, at_least = problem
    start = best_partition(options, at_least)
    if start is None:
        return
    least = min(
        longest(stages, options)
        for stages in splits(options)
        if feasible(stages, options)
        and all(uses(stages, options, g) >= at_least[g] for g in (0, 1))
    )
    even = most_even(options, at_least, start) or start
    assert longest(even.stages, options) == pytest.approx(least, rel=1e-3)
    assert feasible(even.stages, options)


def longest(stages: Sequence[Stage], options: Sequence[StageOption]) -> float:
    return max(stage_time(options[s.option], s.first, s.end) for s in stages)


@SETTINGS
@given(problems(), st.data())
def test_assignment_is_the_best_of_all(
    problem: tuple[list[StageOption], tuple[int, int]], data: st.DataObject
) -> None:
    options, _ = problem
    layers = len(options[0].time) - 1
    cuts = data.draw(st.sets(st.integers(1, layers), max_size=4)) - {layers}
    bounds = [0, *sorted(cuts), layers]
    counts = [b - a for a, b in pairwise(bounds)]
    best = min(
        (
            total_time(stages, options)
            for stages in splits(options)
            if feasible(stages, options) and [s.end - s.first for s in stages] == counts
        ),
        default=inf,
    )
    found = best_assignment(options, counts)
    assert (found is None) == (best == inf)
    if found is not None:
        assert found.time == pytest.approx(best)
        assert feasible(found.stages, options)


@st.composite
def like_devices(draw: st.DrawFn) -> list[StageOption]:
    """Devices of one speed and unlike memory."""
    layers = draw(st.integers(2, 7))
    times = draw(st.lists(st.integers(1, 9), min_size=layers, max_size=layers))
    weights = draw(st.lists(st.integers(1, 9), min_size=layers, max_size=layers))
    edges = tuple(draw(st.integers(0, 4)) for _ in range(4))
    shared = draw(st.none() | shared_pages(layers))
    return [
        StageOption(
            time=tuple(float(t) for t in accumulate(times, initial=0)),
            memory=tuple(accumulate(weights, initial=0)),
            edge_time=(1.0, 0.5, 0.5, 0.0),
            edge_memory=edges,
            limit=draw(st.integers(5, 40)),
            shared=shared,
        )
        for _ in range(draw(st.integers(2, 4)))
    ]


@SETTINGS
@given(like_devices())
def test_balancing_keeps_the_time_and_minimises_the_fullest_device(
    options: list[StageOption],
) -> None:
    found = best_partition(options)
    if found is None:
        return
    even = balanced(found, options)

    def fullest(stages: Sequence[Stage]) -> float:
        return max(
            stage_memory(options[s.option], s.first, s.end) / options[s.option].limit
            for s in stages
        )

    chosen = [s.option for s in found.stages]
    best = min(
        fullest(stages) for stages in splits(options) if [s.option for s in stages] == chosen
    )
    assert fullest(even.stages) == pytest.approx(best)
    assert feasible(even.stages, options)
    assert total_time(even.stages, options) == pytest.approx(found.time)


class Counted(tuple[float, ...]):
    """Numbers that count how often they are looked at."""

    looks = 0

    def __getitem__(self, index: object) -> object:  # type: ignore[override]
        type(self).looks += 1
        return super().__getitem__(index)  # type: ignore[index]


def looks(layers: int, devices: int) -> int:
    """How often the search looks at a layer's time, on devices that each hold a part."""
    Counted.looks = 0
    options = [
        StageOption(
            time=Counted(float(i * (1 + d % 3)) for i in range(layers + 1)),
            memory=tuple(range(layers + 1)),
            edge_time=(1.0, 0.5, 0.5, 0.0),
            edge_memory=(0, 0, 0, 0),
            limit=2 * layers // devices + d % 4,
        )
        for d in range(devices)
    ]
    assert best_partition(options) is not None
    return Counted.looks


def test_the_work_grows_with_layers_times_devices() -> None:
    once = looks(100, 8)
    assert looks(200, 8) < 2.3 * once
    assert looks(100, 16) < 2.3 * once
    # 1,000 layers over 64 devices: some looks for each of the 64,000 ends of a stage.
    assert looks(1000, 64) < 10 * 64_000
