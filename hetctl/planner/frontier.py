"""The best way to cut a chain of layers over devices when limits must be kept, exactly.

A limit on TTFT and one on TPOT make one least time per cut too few: a cut that is slower so far
may be the only one to keep a limit in the end. So for each number of layers placed, all ways are
kept that no other beats in every criterion, less those that cannot become better than what
is known already.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from hetctl.planner.partition import (
    Stage,
    StageOption,
    Used,
    counted,
    mirrored,
    stage_memory,
    times_by_devices,
)

Criteria: TypeAlias = "tuple[float, float, float]"
"""Seconds: what is to be least, TTFT, TPOT."""

Key: TypeAlias = "tuple[float, float]"
"""What plans are compared by; rises with each criterion."""


@dataclass(frozen=True, slots=True)
class WeighedOption:
    """A device by each criterion."""

    option: StageOption
    sums: tuple[Sequence[float], Sequence[float], Sequence[float]]
    """Prefix sums over layers."""
    edges: tuple[Criteria, Criteria, Criteria, Criteria]
    """Added once per stage: index ``first + 2 * last``; none is negative."""

    def stage(self, first: int, end: int) -> Criteria:
        """One stage, with what its place in the pipeline adds."""
        edge = self.edges[(first == 0) + 2 * (end == len(self.sums[0]) - 1)]
        a, b, c = (sums[end] - sums[first] for sums in self.sums)
        return a + edge[0], b + edge[1], c + edge[2]


def mirrored_weights(weighed: WeighedOption) -> WeighedOption:
    """The device in a model whose last layer is the first: ends become beginnings."""
    a, b, c = ([sums[-1] - spent for spent in reversed(sums)] for sums in weighed.sums)
    middle, first, last, only = weighed.edges
    return WeighedOption(mirrored(weighed.option), (a, b, c), (middle, last, first, only))


class Way(NamedTuple):
    """A way to place the first layers."""

    criteria: Criteria
    stage: Stage | None = None
    before: "Way | None" = None

    def stages(self) -> tuple[Stage, ...]:
        """In pipeline order."""
        found = []
        way: Way | None = self
        while way is not None and way.stage is not None:
            found.append(way.stage)
            way = way.before
        return tuple(reversed(found))


Ways: TypeAlias = "list[list[Way]]"
"""By the number of layers placed."""


def best_way(
    options: Sequence[WeighedOption],
    at_least: Used,
    key: Callable[[Criteria], Key],
    known: Key,
    bounds: Sequence[int] | None = None,
) -> Way | None:
    """The split of least ``key`` that fits, or None where none is better than ``known``.

    Args:
        options: Devices in pipeline order; all with prefix sums over the same layers.
        at_least: How many devices of group 0 and of group 1 must be used.
        bounds: Where stages begin and end, if that is given: all of them, ends included.
    """
    layers = len(options[0].sums[0]) - 1
    rest = _completions(options)
    if key(rest[0][0]) >= known:
        return None

    def hopeless(criteria: Criteria, passed: int, placed: int) -> bool:
        return key(added(criteria, rest[passed][placed])) >= known

    runs = _all_runs(layers) if bounds is None else [[] for _ in range(layers)]
    for first, end in pairwise(bounds or ()):
        runs[first] = [end]
    fronts = _fronts(options, at_least, runs, hopeless)
    complete = fronts[at_least][layers] if at_least in fronts else []
    return min(complete, key=lambda way: key(way.criteria), default=None)


def ways_to_begin(options: Sequence[WeighedOption], layers: int) -> Ways:
    """All unbeaten ways to place the first layers of a model, by how many they are."""
    fronts = _fronts(options, (0, 0), _all_runs(layers), lambda *_: False)
    return fronts.get((0, 0), [[] for _ in range(layers + 1)])


def _fronts(
    options: Sequence[WeighedOption],
    at_least: Used,
    runs: Sequence[Sequence[int]],
    hopeless: Callable[[Criteria, int, int], bool],
) -> dict[Used, Ways]:
    """The unbeaten ways by the devices used and the layers placed.

    Args:
        runs: Where a stage may end, by where it begins.
        hopeless: Whether what is placed so far, on so many of the options and of so many layers,
            cannot become good enough.
    """
    nothing: Ways = [[] for _ in range(len(runs) + 1)]
    fronts: dict[Used, Ways] = {(0, 0): [[Way((0.0, 0.0, 0.0))], *nothing[1:]]}
    for index, weighed in enumerate(options):
        option = weighed.option
        grown: dict[Used, Ways] = {}
        if not option.mandatory:
            grown = {used: [ways[:] for ways in front] for used, front in fronts.items()}
        for used, front in fronts.items():
            target = grown.setdefault(
                counted(used, option.group, at_least), [ways[:] for ways in nothing]
            )
            for first, ends in enumerate(runs):
                for end in _fitting(option, first, ends) if front[first] else ():
                    more, stage = weighed.stage(first, end), Stage(index, first, end)
                    for way in front[first]:
                        criteria = added(way.criteria, more)
                        if not hopeless(criteria, index + 1, end):
                            target[end].append(Way(criteria, stage, way))
        fronts = {used: [unbeaten(ways) for ways in front] for used, front in grown.items()}
    return fronts


def _fitting(option: StageOption, first: int, ends: Sequence[int]) -> Iterator[int]:
    """Where a stage may end that begins at ``first`` and fits its device."""
    layers = len(option.memory) - 1
    for end in ends:
        if stage_memory(option, first, end) <= option.limit:
            yield end
        elif end < layers:
            break
    else:
        return
    if ends[-1] == layers and stage_memory(option, first, layers) <= option.limit:
        yield layers


def _all_runs(layers: int) -> list[Sequence[int]]:
    return [range(first + 1, layers + 1) for first in range(layers)]


def unbeaten(ways: Iterable[Way]) -> list[Way]:
    """The ways that no other is at least as good as in every criterion; of equals, one."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda way: way.criteria):
        # Sorted, so what is kept is no worse in the first criterion.
        _, second, third = way.criteria
        if not any(k.criteria[1] <= second and k.criteria[2] <= third for k in kept):
            kept.append(way)
    return kept


def _completions(options: Sequence[WeighedOption]) -> list[list[Criteria]]:
    """What the layers behind each cut take at least, in each criterion for itself: by how many of
    ``options`` were passed, and by the layers placed on them."""
    layers = len(options[0].sums[0]) - 1
    by_criterion = []
    for i in range(3):
        backwards = [
            mirrored(replace(o.option, time=o.sums[i], edge_time=[edge[i] for edge in o.edges]))
            for o in reversed(options)
        ]
        by_criterion.append(times_by_devices(backwards, layers)[::-1])
    return [
        [(a, b, c) for a, b, c in zip(*times, strict=True)][::-1]
        for times in zip(*by_criterion, strict=True)
    ]


def added(a: Criteria, b: Criteria) -> Criteria:
    """Both together."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]
