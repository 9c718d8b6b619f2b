"""How often ``hetctl gate`` is wrong, and what it sees: the tables of docs/results/gate.md.

    python benchmarks/gate.py simulate [--tries N]
    python benchmarks/gate.py real BASE CURRENT [--slow SLOW]

``simulate`` draws runs with known noise and a known slowdown. ``real`` takes results of
``hetctl bench --append``: BASE and CURRENT of the same program, which are dealt out anew in
every way, and SLOW of a program that is slower. Prints Markdown.
"""

import argparse
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.gate import changepoint
from hetctl.bench.gate.bootstrap import RatioOfMedians, ratio_distribution
from hetctl.bench.gate.decision import decide, worst
from hetctl.bench.gate.gate import choose_configuration
from hetctl.bench.gate.thresholds import DEFAULTS, Threshold, parse_thresholds
from hetctl.bench.metrics import ALL_METRICS
from hetctl.bench.results import Results, Run

RUNS = 5
LIMIT = 1 / 0.95
THRESHOLDS = parse_thresholds(DEFAULTS)
TIGHT = parse_thresholds(("output_throughput<0.97", "p50_ttft>1.06", "p50_tpot>1.03"))
SIGMAS = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05)
SEED = 1
# One-sided 99.5% quantiles of Student's t for 4 to 8 degrees of freedom.
T995 = {4: 4.604, 5: 4.032, 6: 3.707, 7: 3.499, 8: 3.355}

Pair = tuple[np.ndarray, np.ndarray]
"""Seconds of the runs of BASE and of CURRENT, in the order they ran."""


# Noise: a row of figures in the order in which the runs took place.


@dataclass(frozen=True)
class Noise:
    title: str
    draw: Callable[[np.random.Generator, int, float], np.ndarray]
    interleaved: bool = True

    def pair(self, random: np.random.Generator, runs: int, sigma: float, slowdown: float) -> Pair:
        figures = self.draw(random, 2 * runs, sigma)
        order = (slice(0, None, 2), slice(1, None, 2))
        base, current = (
            (figures[order[0]], figures[order[1]])
            if self.interleaved
            else (figures[:runs], figures[runs:])
        )
        return np.exp(base), np.exp(current + math.log1p(slowdown))


def lognormal(random: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    return random.normal(0, sigma, count)


def outliers(random: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    """One run in ten is disturbed and takes some 15% longer."""
    disturbed = random.random(count) < 0.1
    return lognormal(random, count, sigma) + disturbed * random.exponential(0.15, count)


def drift(random: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    """The machine grows 5% slower from the first run to the last."""
    return lognormal(random, count, sigma) + np.linspace(0, 0.05, count)


def walk(random: np.random.Generator, count: int, sigma: float) -> np.ndarray:
    """Each run starts from where the one before left the machine."""
    return lognormal(random, count, sigma) + np.cumsum(random.normal(0, sigma, count))


NOISES = (
    Noise("log-normal", lognormal),
    Noise("one run in ten disturbed", outliers),
    Noise("drift of 5%", drift),
    Noise("random walk", walk),
    Noise("drift of 5%, not interleaved", drift, interleaved=False),
)


# Methods: an estimate of the logarithm of the slowdown, and the low end of a 99% interval.


def percentile(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    ratio = RatioOfMedians(base.tolist(), current.tolist())
    return math.log(ratio.value), math.log(ratio.interval(0.99)[0])


def bca(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Bias-corrected and accelerated; the acceleration from the jackknife over both sides."""
    values, weights = ratio_distribution(base.tolist(), current.tolist())
    estimate = float(np.median(current) / np.median(base))
    below = weights[values < estimate].sum() + weights[values == estimate].sum() / 2
    normal = statistics.NormalDist()
    bias = normal.inv_cdf(min(max(below, 1e-6), 1 - 1e-6))
    without = [np.median(current) / np.median(np.delete(base, i)) for i in range(len(base))]
    without += [np.median(np.delete(current, i)) / np.median(base) for i in range(len(current))]
    off = np.mean(without) - np.array(without)
    scale = 6 * (off**2).sum() ** 1.5
    acceleration = (off**3).sum() / scale if scale else 0.0
    shifted = bias + normal.inv_cdf(0.005)
    share = normal.cdf(bias + shifted / (1 - acceleration * shifted))
    at = min(int(np.searchsorted(np.cumsum(weights), share)), len(values) - 1)
    return math.log(estimate), math.log(values[at])


def welch(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Studentised: Welch's t on logarithms."""
    base, current = np.log(base), np.log(current)
    parts = [side.var(ddof=1) / len(side) for side in (base, current)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(base) - 1) for part in parts)
    quantile = np.interp(freedom, list(T995), list(T995.values()))
    estimate = current.mean() - base.mean()
    return estimate, estimate - quantile * math.sqrt(sum(parts))


def paired(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Student's t over pairs of neighbours."""
    apart = np.log(current) - np.log(base)
    error = apart.std(ddof=1) / math.sqrt(len(apart))
    return apart.mean(), apart.mean() - T995[len(apart) - 1] * error


def hodges_lehmann(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Median of all differences; the interval that the exact Mann-Whitney test leaves at
    99.2%, the closest that five against five can have."""
    apart = np.sort(np.subtract.outer(np.log(current), np.log(base)).ravel())
    return float(np.median(apart)), float(apart[1])


def permutation(base: np.ndarray, current: np.ndarray) -> tuple[float, float]:
    """Exact permutation test of the difference of means at 0.5%, as an interval that ends
    just above or just below 0."""
    pool = np.log(np.concatenate([base, current]))
    estimate = pool[RUNS:].mean() - pool[:RUNS].mean()
    sums = pool[DEALS].sum(axis=1)
    as_large = np.count_nonzero(sums >= pool[RUNS:].sum() - 1e-12)
    return estimate, math.copysign(1e-9, 0.005 - as_large / len(DEALS))


DEALS = np.array(list(itertools.combinations(range(2 * RUNS), RUNS)))
METHODS = {
    "percentile bootstrap": percentile,
    "BCa bootstrap": bca,
    "Welch's t": welch,
    "paired t": paired,
    "Mann-Whitney, Hodges-Lehmann": hodges_lehmann,
    "permutation of means": permutation,
}


def simulate(tries: int) -> None:
    orders()
    methods(np.random.default_rng(SEED), tries)
    rules(np.random.default_rng(SEED), tries)
    heading("The gate at its default thresholds: regression / not enough evidence / passed")
    whole_gate(np.random.default_rng(SEED), tries, THRESHOLDS, (5, 7, 10), SIGMAS)
    heading(f"The same at {', '.join(map(str, TIGHT))}")
    whole_gate(np.random.default_rng(SEED), tries, TIGHT, (5, 10), SIGMAS[:4])
    change_scan(max(100, tries // 20))


def orders() -> None:
    """False alarms of the interval alone, counted over every order that runs can have."""
    rows = []
    for runs in range(3, 9):
        cells = [str(runs), f"{math.comb(2 * runs, runs):,}"]
        outside: Counter[float] = Counter()
        for current in itertools.combinations(range(1, 2 * runs + 1), runs):
            base = [rank for rank in range(1, 2 * runs + 1) if rank not in current]
            # Ranks far from 0, so that ratios order like differences.
            ratio = RatioOfMedians([1e6 + rank for rank in base], [1e6 + rank for rank in current])
            outside.update(level for level in (0.90, 0.95, 0.99) if ratio.interval(level)[0] > 1)
        total = math.comb(2 * runs, runs)
        cells += [
            f"{outside[level]} ({outside[level] / total:.2%})" for level in (0.90, 0.95, 0.99)
        ]
        rows.append(cells)
    heading("Orders of equal runs in which the interval of the ratio lies above 1")
    table(("runs a side", "orders", "90%", "95%", "99%"), rows)


def methods(random: np.random.Generator, tries: int) -> None:
    """Alarms of one metric: the estimate beyond 0.95 and the 99% interval without 1."""
    heading("One metric, threshold 0.95, five runs a side: alarms at no slowdown / at 10%")
    rows = []
    for noise, sigma in itertools.product(NOISES, (0.01, 0.02, 0.03, 0.05)):
        alarms: Counter[tuple[str, float]] = Counter()
        for slowdown in (0.0, 0.10):
            for _ in range(tries):
                pair = noise.pair(random, RUNS, sigma, slowdown)
                for name, method in METHODS.items():
                    estimate, low = method(*pair)
                    alarms[name, slowdown] += estimate > math.log(LIMIT) and low > 0
        rows.append(
            [f"{noise.title}, {sigma:.0%}"]
            + [
                f"{alarms[name, 0.0] / tries:.2%} / {alarms[name, 0.10] / tries:.1%}"
                for name in METHODS
            ]
        )
    table(("noise of a run", *METHODS), rows)


def rules(random: np.random.Generator, tries: int) -> None:
    """What an alarm asks for, with the percentile bootstrap."""
    heading("What an alarm asks for: alarms at no slowdown / at 10%, log-normal noise")
    names = (
        "estimate beyond the threshold",
        "99% interval without 1",
        "both",
        "whole 99% interval beyond the threshold",
    )
    rows = []
    for sigma in (0.01, 0.02, 0.03, 0.05):
        alarms: Counter[tuple[str, float]] = Counter()
        for slowdown in (0.0, 0.10):
            for _ in range(tries):
                estimate, low = percentile(*NOISES[0].pair(random, RUNS, sigma, slowdown))
                beyond, apart = estimate > math.log(LIMIT), low > 0
                told = (beyond, apart, beyond and apart, low > math.log(LIMIT))
                alarms.update(
                    (name, slowdown) for name, yes in zip(names, told, strict=True) if yes
                )
        rows.append(
            [f"{sigma:.0%}"]
            + [f"{alarms[n, 0.0] / tries:.2%} / {alarms[n, 0.10] / tries:.1%}" for n in names]
        )
    table(("noise of a run", *names), rows)


def whole_gate(
    random: np.random.Generator,
    tries: int,
    thresholds: Sequence[Threshold],
    counts: Sequence[int],
    sigmas: Sequence[float],
) -> None:
    """All metrics at once. The time per token follows the throughput closely; the time to
    first token half so, with twice the noise."""
    slowdowns = (0.0, 0.05, 0.10)
    rows = []
    for runs, sigma in itertools.product(counts, sigmas):
        row = [str(runs), f"{sigma:.1%}"]
        for slowdown in slowdowns:
            verdicts = Counter(
                gate_once(random, thresholds, runs, sigma, slowdown) for _ in range(tries)
            )
            row.append(shares(verdicts, tries))
        rows.append(row)
    table(("runs a side", "noise of a run", *(f"{one:.0%} slower" for one in slowdowns)), rows)


def gate_once(
    random: np.random.Generator,
    thresholds: Sequence[Threshold],
    runs: int,
    sigma: float,
    slowdown: float,
) -> str:
    common = random.normal(0, 1, (2, runs))
    verdicts = []
    for threshold in thresholds:
        share, scale = (0.5, 2) if "ttft" in threshold.metric.key else (0.95, 1)
        own = random.normal(0, 1, (2, runs))
        noise = scale * sigma * (share * common + math.sqrt(1 - share**2) * own)
        seconds = np.exp(noise + np.array([[0.0], [math.log1p(slowdown)]]))
        figures = 1 / seconds if threshold.metric.higher_is_better else seconds
        verdicts.append(decide(threshold, *map(list, figures.tolist())).verdict)
    return worst(verdicts)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


SCORES = {"bounded (the gate's)": changepoint._clipped, "ranks": ranks, "plain means": np.array}
"""What the scan over a history may be made of."""


def change_scan(tries: int) -> None:
    """Changes found in a history whose commits differ by 1% of noise."""
    heading("History, 1% of noise: series in which a change was found / at the right commit")
    rows = []
    for (commits, after, shift), disturbed in itertools.product(
        ((20, 0, 0.0), (50, 0, 0.0), (20, 2, 0.05), (20, 3, 0.05), (20, 5, 0.05), (50, 10, 0.02)),
        (False, True),
    ):
        what = f"{shift:.0%} at the last {after} of {commits}" if after else f"none in {commits}"
        row = [what + (", one in twelve disturbed" if disturbed else "")]
        for scores in SCORES.values():
            random = np.random.default_rng(SEED)
            with mock.patch.object(changepoint, "_clipped", scores):
                found = [scan_once(random, commits, after, shift, disturbed) for _ in range(tries)]
            there = sum(commits - after in cuts for cuts in found)
            any_found = f"{sum(map(bool, found)) / tries:.1%}"
            row.append(f"{any_found} / {there / tries:.1%}" if after else any_found)
        rows.append(row)
    table(("change", *SCORES), rows)


def scan_once(
    random: np.random.Generator, commits: int, after: int, shift: float, disturbed: bool
) -> tuple[int, ...]:
    values = random.normal(0, 0.01, commits)
    values[commits - after :] += shift
    if disturbed:
        values += (random.random(commits) < 1 / 12) * random.exponential(0.1, commits)
    return changepoint.change_points(np.exp(values).tolist())


# Real runs.


def real(base: Path, current: Path, slow: Path | None) -> None:
    """Every way to deal the equal runs to two sides, and each side of them against SLOW."""
    equal = [*runs_in(base), *runs_in(current)]
    slower = runs_in(slow) if slow else ()
    heading(
        f"{len(equal)} runs of one program{f' and {len(slower)} of a slower one' if slow else ''}"
    )
    rows = []
    for metric in ALL_METRICS:
        figures = [metric.of(run.measurement) for run in equal]
        row = [metric.key, metric.format(statistics.median(figures)), spread(figures)]
        if slower:
            there = statistics.median(metric.of(run.measurement) for run in slower)
            row.append(f"{there / statistics.median(figures):.3f}")
        rows.append(row)
    table(("metric", "median", "noise of a run", *(["SLOW over the rest"] if slower else [])), rows)

    marked = sum(bool(run.telemetry_digest and run.telemetry_digest.marks) for run in equal)
    print(
        f"\n{marked} of the equal runs were disturbed; the gate itself would doubt more than one "
        "in five of a side."
    )
    heading("What the gate says of them at its default thresholds")
    rows = []
    half = len(equal) // 2
    as_run = runs_in(base), runs_in(current)
    rows.append(["BASE and CURRENT, as they ran", "1", verdict_on(*as_run)])
    deals = list(itertools.combinations(range(len(equal)), half))
    verdicts = Counter(
        verdict_on([equal[i] for i in deal], [run for i, run in enumerate(equal) if i not in deal])
        for deal in deals
    )
    rows.append(["equal runs, every deal", f"{len(deals)}", shares(verdicts, len(deals))])
    if slower:
        verdicts = Counter(verdict_on([equal[i] for i in deal], slower) for deal in deals)
        rows.append(
            ["equal runs against SLOW, every deal", f"{len(deals)}", shares(verdicts, len(deals))]
        )
        rows.append(["BASE against SLOW, as they ran", "1", verdict_on(as_run[0], slower)])
        rows.append(["CURRENT against SLOW, as they ran", "1", verdict_on(as_run[1], slower)])
    table(("comparison", "tries", "regression / not enough evidence / passed"), rows)


def runs_in(folder: Path) -> tuple[Run, ...]:
    return choose_configuration(Results.load(folder / RESULTS_FILE), None, str(folder)).runs


def verdict_on(base: Sequence[Run], current: Sequence[Run]) -> str:
    return worst(
        [
            decide(
                one, *([one.metric.of(r.measurement) for r in side] for side in (base, current))
            ).verdict
            for one in THRESHOLDS
        ]
    )


def spread(figures: Sequence[float]) -> str:
    """Standard deviation of the logarithms: the relative noise between runs."""
    return f"{statistics.stdev(map(math.log, figures)):.1%}" if min(figures) > 0 else ""


def shares(verdicts: Counter[str], tries: int) -> str:
    passed = verdicts["ok"] + verdicts["improvement"]
    parts = (verdicts["regression"], verdicts["not enough evidence"], passed)
    return " / ".join(f"{part / tries:.2%}" if part < tries else "100%" for part in parts)


def heading(text: str) -> None:
    print(f"\n### {text}\n")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    columns = tuple(columns)
    for line in (columns, ["---"] + ["---:"] * (len(columns) - 1), *rows):
        print(f"| {' | '.join(line)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("simulate")
    command.add_argument("--tries", type=int, default=10_000)
    command = commands.add_parser("real")
    command.add_argument("base", type=Path)
    command.add_argument("current", type=Path)
    command.add_argument("--slow", type=Path)
    options = parser.parse_args()
    if options.command == "simulate":
        simulate(options.tries)
    else:
        real(options.base, options.current, options.slow)


if __name__ == "__main__":
    main()
