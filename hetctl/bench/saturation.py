"""Where more load brings no more throughput.

A server is saturated from the lightest load on that gives it 95% of the best throughput that
any load does. A sweep may end early: once two points in a row have each brought less than 5%
more than the best before them, the heavier ones are expected to bring nothing but latency.
"""

from collections.abc import Sequence

from hetctl.bench.metrics import OUTPUT_THROUGHPUT
from hetctl.bench.results import Load, Results
from hetctl.bench.summary import value_over

FLAT_GAIN = 0.05
FLAT_POINTS = 2


def is_flat(rates: Sequence[float]) -> bool:
    """Whether the last points brought nothing; ``rates`` are throughputs under rising load."""
    if len(rates) <= FLAT_POINTS:
        return False
    return all(
        rates[at] < (1 + FLAT_GAIN) * max(rates[:at])
        for at in range(len(rates) - FLAT_POINTS, len(rates))
    )


def loads_for(results: Results, name: str) -> tuple[Load, ...]:
    """The loads that a configuration is measured under: all, or those up to where it is flat.

    The first repeat decides, so that all repeats have the same points.
    """
    if not results.stop_when_flat:
        return results.loads
    first = {run.point: run for run in results.runs_of(name) if run.repeat == 1}
    rates: list[float] = []
    for at, load in enumerate(results.loads):
        if run := first.get(load.point):
            rates.append(OUTPUT_THROUGHPUT.of(run.measurement))
            if is_flat(rates):
                return results.loads[: at + 1]
    return results.loads


def saturation_point(results: Results, name: str) -> str | None:
    """The lightest load under which a configuration is saturated.

    None where nothing was measured, or where the heaviest load that was measured is the only
    one that counts, so that the curve may rise further.
    """
    rates = [
        (load.point, value_over([OUTPUT_THROUGHPUT.of(run.measurement) for run in runs]).mean)
        for load in results.loads
        if (runs := results.runs_of(name, load.point))
    ]
    enough = (1 - FLAT_GAIN) * max((rate for _, rate in rates), default=0.0)
    for point, rate in rates[:-1]:
        if rate >= enough:
            return point
    return None


def busiest_point(results: Results) -> str:
    """Where any configuration had the most throughput; the first point if nothing was measured."""
    best = max(results.runs, key=lambda run: OUTPUT_THROUGHPUT.of(run.measurement), default=None)
    return best.point if best else results.loads[0].point
