"""The best pipeline under limits on TTFT and TPOT."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from hetctl.planner.cost import StepCost
from hetctl.planner.device import Device
from hetctl.planner.frontier import Criteria, Key, WeighedOption, best_way
from hetctl.planner.memory import MemoryModel
from hetctl.planner.partition import Stage, StageOption, Used, best_partition
from hetctl.planner.placement import Placer

# Layers squared x devices that are worth a second. With more, weighted sums of the criteria are
# tried: of the splits that are best for some weights, the best.
_MOST_RUNS = 400_000

# Of TTFT and of TPOT, as shares of their limits, beside the objective as a share of itself.
_WEIGHTS = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1e6, 0.0), (0.0, 1e6), (1e6, 1e6))


class Limits:
    """What a goal asks of the stages of an engine over some devices."""

    def __init__(self, placer: Placer, memory: MemoryModel) -> None:
        self._placer, self._goal = placer, placer.goal
        self._goal_steps = placer.goal_steps(memory.serving)
        self._steps = placer.steps(memory.serving)
        goal_engine, engine = (
            (steps.decode.engine_s, steps.mixed.engine_s, steps.background.engine_s)
            for steps in (self._goal_steps, self._steps)
        )
        self._engine = self._of(goal_engine, engine)

    def key(self, criteria: Criteria) -> Key:
        """What plans are compared by: the excess over the limits, then the objective."""
        objective, ttft, tpot = map(sum, zip(criteria, self._engine, strict=True))
        return self._goal.key(objective, ttft, tpot)

    def weigh(self, device: Device, option: StageOption) -> WeighedOption:
        """``option``, which is of ``device``, by each criterion."""
        goal_cost = self._placer.cost(device, self._goal_steps)
        cost = self._placer.cost(device, self._steps)
        kinds = (cost.decode, cost.mixed, cost.background)
        parts = zip(*(step.sums_s for step in kinds), strict=True)
        sums = [self._limited(*part) for part in parts]
        edges = [self._limited(*part) for part in zip(*(s.edges_s for s in kinds), strict=True)]
        first, second, third, fourth = (
            (objective, *edge)
            for objective, edge in zip(goal_cost.objective_edges, edges, strict=True)
        )
        ttft, tpot = zip(*sums, strict=True)
        return WeighedOption(
            option, (goal_cost.objective_sums, ttft, tpot), (first, second, third, fourth)
        )

    def stage(self, device: Device, seconds: Callable[[StepCost], float]) -> Criteria:
        """A stage on ``device`` that takes ``seconds`` of each kind of step."""
        goal, own = (
            (seconds(cost.decode), seconds(cost.mixed), seconds(cost.background))
            for cost in (
                self._placer.cost(device, self._goal_steps),
                self._placer.cost(device, self._steps),
            )
        )
        return self._of(goal, own)

    def weights(self, by_ttft: float, by_tpot: float) -> Criteria:
        """For a weighted sum, with TTFT and TPOT as shares of their limits."""
        ttft, tpot = self._goal.ttft_s, self._goal.tpot_s
        smallest = min(limit for limit in (ttft, tpot) if limit)
        return 1.0 / smallest, by_ttft / ttft if ttft else 0.0, by_tpot / tpot if tpot else 0.0

    def _of(self, goal_times: tuple[float, ...], times: tuple[float, ...]) -> Criteria:
        decode, mixed, background = goal_times
        objective = self._goal_steps.per_token_s(decode, mixed, background)
        return (objective, *self._limited(*times))

    def _limited(self, decode: float, mixed: float, background: float) -> tuple[float, float]:
        return self._steps.ttft_s(mixed), self._steps.tpot_s(decode, mixed, background)


def best_under_limits(
    limits: Limits,
    devices: Sequence[Device],
    options: Sequence[StageOption],
    at_least: Used,
    known: Key,
    bounds: Sequence[int] | None = None,
) -> tuple[Key, tuple[Stage, ...]] | None:
    """The split that keeps the limits and is best, or else comes closest to them.

    None where none is better than ``known``.

    Args:
        devices: What ``options`` are of, in pipeline order.
        at_least: How many devices of group 0 and of group 1 must be used.
        bounds: Where stages begin and end, if that is given.
    """
    weighed = [limits.weigh(*pair) for pair in zip(devices, options, strict=True)]
    found: tuple[Key, tuple[Stage, ...]] | None = None
    for stages in _best_by_weight(limits, weighed, at_least) if bounds is None else ():
        key = limits.key(_total(weighed, stages))
        if key < known:
            found, known = (key, stages), key
    if len(options[0].time) ** 2 * len(options) <= _MOST_RUNS:
        way = best_way(weighed, at_least, limits.key, known, bounds)
        if way is not None:
            return limits.key(way.criteria), way.stages()
    return found


def _best_by_weight(
    limits: Limits, weighed: Sequence[WeighedOption], at_least: Used
) -> Iterator[tuple[Stage, ...]]:
    """Splits that are best for some weights of the criteria: first guesses."""
    for by_ttft, by_tpot in _WEIGHTS:
        weights = limits.weights(by_ttft, by_tpot)
        options = [
            replace(
                one.option,
                time=[_dot(weights, criteria) for criteria in zip(*one.sums, strict=True)],
                edge_time=[_dot(weights, edge) for edge in one.edges],
            )
            for one in weighed
        ]
        partition = best_partition(options, at_least)
        if partition is not None:
            yield partition.stages


def _total(weighed: Sequence[WeighedOption], stages: Sequence[Stage]) -> Criteria:
    objective, ttft, tpot = (
        sum(parts)
        for parts in zip(*(weighed[s.option].stage(s.first, s.end) for s in stages), strict=True)
    )
    return objective, ttft, tpot


def _dot(weights: Criteria, criteria: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, criteria, strict=True))
