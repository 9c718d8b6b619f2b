"""Two sets of results in, a report with a verdict out."""

from collections.abc import Collection, Iterator, Sequence

from hetctl.bench.circumstances import Aspect, Difference, other_program
from hetctl.bench.gate.comparability import NAMES, Measured, differences, refuse
from hetctl.bench.gate.decision import (
    ALARM_CONFIDENCE,
    CLEAR_CONFIDENCE,
    Decision,
    decide,
    worst,
)
from hetctl.bench.gate.disturbance import Disturbance
from hetctl.bench.gate.report import GateReport, Interval, MetricResult, Side
from hetctl.bench.gate.thresholds import Threshold
from hetctl.bench.results import Configuration, Results, Run
from hetctl.errors import UsageError


def choose_point(results: Results, point: str | None, source: str) -> Results:
    """The results at this point or, of those with one point only, at that.

    Raises:
        UsageError: there is no such point, or there are several to choose from.
    """
    points = [load.point for load in results.loads]
    if point is None and len(points) > 1:
        raise UsageError(
            f"{source} holds a sweep over {', '.join(points)}; choose one of them with --point."
        )
    if point is not None and point not in points:
        raise UsageError(f"{source} has no point {point!r}; it has {', '.join(points)}.")
    return results.at(point or points[0])


def choose_configuration(results: Results, name: str | None, source: str) -> Measured:
    """The configuration of this name or, without one, the plan under test.

    Args:
        results: with one point.

    Raises:
        UsageError: there is no such configuration, or it was not measured.
    """
    if name is None:
        name = _plan_under_test(results, source).name
    try:
        measured = Measured(results, results.configuration(name))
    except KeyError as error:
        known = ", ".join(one.name for one in results.configurations)
        raise UsageError(
            f"{source} has no configuration {name!r}; it has {known}. Choose with --configuration."
        ) from error
    if not measured.runs:
        raise UsageError(f"{source} holds no run of {name}, so there is nothing to compare.")
    return measured


def gate(
    base: Measured,
    current: Measured,
    thresholds: Sequence[Threshold],
    *,
    sources: tuple[str, str],
    allowed: Collection[Aspect] = (),
) -> GateReport:
    """Compare CURRENT with BASE.

    Args:
        sources: the folders that BASE and CURRENT were read from, to be named in the report.
        allowed: aspects in which the two may differ; with ``disturbed``, marked runs count
            however many they are.

    Raises:
        UsageError: they differ in anything else that makes a comparison meaningless.
    """
    found = differences(base, current)
    refuse(found, allowed)
    disturbances = Disturbance("BASE", base.runs), Disturbance("CURRENT", current.runs)
    doubtful = [one for one in disturbances if one.leaves_doubt]
    metrics = tuple(_judge(threshold, base.runs, current.runs) for threshold in thresholds)
    if "disturbed" not in allowed:
        metrics = tuple(_doubted(one, doubtful) for one in metrics)
    aspects = [*(one.aspect for one in found), *("disturbed" for _ in doubtful)]
    return GateReport(
        verdict=worst([one.verdict for one in metrics]),
        model=current.results.model,
        configuration=current.configuration.name,
        offered_load=current.results.offered_load,
        base=_side(base, sources[0]),
        current=_side(current, sources[1]),
        metrics=metrics,
        allowed=tuple(one for one in dict.fromkeys(aspects) if one in allowed),
        notes=(
            *_notes(base, current, found),
            *(one.note for one in disturbances if one.marked),
        ),
    )


def _plan_under_test(results: Results, source: str) -> Configuration:
    for configuration in results.configurations:
        if configuration.role == "plan":
            return configuration
    raise UsageError(f"{source} holds no plan under test; name one with --configuration.")


def _judge(threshold: Threshold, base: Sequence[Run], current: Sequence[Run]) -> MetricResult:
    figures = [
        tuple(threshold.metric.of(run.measurement) for run in side) for side in (base, current)
    ]
    decision = decide(threshold, *figures)
    return MetricResult(
        metric=threshold.metric.key,
        threshold=str(threshold),
        verdict=decision.verdict,
        reason=decision.reason,
        base_median=decision.base_median,
        current_median=decision.current_median,
        base=figures[0],
        current=figures[1],
        **_evidence(decision),
    )


def _doubted(one: MetricResult, doubtful: Sequence[Disturbance]) -> MetricResult:
    """What was found is not believed where too many runs were disturbed."""
    if not doubtful or one.verdict == "not enough evidence":
        return one
    clauses = " and ".join(each.clause for each in doubtful)
    reason = f"{clauses}; add runs, measure again, or say --allow disturbed."
    return one.model_copy(update={"verdict": "not enough evidence", "reason": reason})


def _evidence(decision: Decision) -> dict[str, object]:
    evidence = decision.evidence
    if evidence is None:
        return {}
    (clear_low, clear_high), (alarm_low, alarm_high) = (
        evidence.clear_interval,
        evidence.alarm_interval,
    )
    return {
        "ratio": evidence.ratio,
        "clear_interval": Interval(confidence=CLEAR_CONFIDENCE, low=clear_low, high=clear_high),
        "alarm_interval": Interval(confidence=ALARM_CONFIDENCE, low=alarm_low, high=alarm_high),
    }


def _side(measured: Measured, source: str) -> Side:
    return Side(
        source=source,
        git_commit=measured.results.environment.git_commit,
        started=measured.runs[0].started,
        runs=len(measured.runs),
    )


def _notes(base: Measured, current: Measured, found: Sequence[Difference]) -> Iterator[str]:
    yield from (f"Compared although they differ in {one.aspect}: {one.text}." for one in found)
    if program := other_program(base.results, current.results, NAMES):
        yield f"{program}."
    yield from _plans_differ(base.configuration, current.configuration)
    one, other = (side.results.environment.git_commit for side in (base, current))
    if one is not None and one == other:
        yield f"BASE and CURRENT are of the same commit {one}: what differs is noise."
    if not _interleaved(base.runs, current.runs):
        yield (
            "All runs of one side came before those of the other, so a machine that grew slower "
            "in between looks like a regression; take turns with hetctl bench --append."
        )


def _plans_differ(base: Configuration, current: Configuration) -> Iterator[str]:
    if base.plan is None or current.plan is None:
        return
    splits = [
        "+".join(map(str, plan.split)) + " layers on " + ", ".join(plan.devices)
        for plan in (base.plan, current.plan)
    ]
    if splits[0] != splits[1]:
        yield f"The plans differ: {splits[0]} in BASE and {splits[1]} in CURRENT."


def _interleaved(base: Sequence[Run], current: Sequence[Run]) -> bool:
    """Whether at least one run of each side began before the last of the other."""
    ones, others = ([run.started for run in side] for side in (base, current))
    return min(ones) <= max(others) and min(others) <= max(ones)
