"""Repeats put together: one figure per configuration and metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from hetctl.bench.metrics import METRICS, OUTPUT_THROUGHPUT, REQUEST_GOODPUT, Metric
from hetctl.bench.results import Configuration, Results, Run

# Two-sided 95% quantiles of Student's t for 1, 2, ... degrees of freedom; beyond the
# table 1.96 + 2.5/df is right to 1%.
_T95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)

_MEANINGLESS = 25.0
"""An interval of a ratio whose ends are further apart than this factor says nothing."""


@dataclass(frozen=True)
class Value:
    """A figure over the repeats."""

    mean: float
    half_width: float | None
    """Of the 95% confidence interval of the mean; None with a single repeat."""
    repeats: int

    @property
    def low(self) -> float:
        return self.mean - (self.half_width or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half_width or 0.0)


def value_over(samples: Sequence[float]) -> Value:
    """Mean and confidence interval of at least one sample."""
    count = len(samples)
    if count == 1:
        return Value(samples[0], None, 1)
    quantile = _T95[count - 2] if count - 2 < len(_T95) else 1.96 + 2.5 / (count - 1)
    return Value(fmean(samples), quantile * stdev(samples) / math.sqrt(count), count)


@dataclass(frozen=True)
class ConfigurationSummary:
    """One configuration that was measured at least once."""

    configuration: Configuration
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        return self.configuration.name

    def value(self, metric: Metric) -> Value:
        return value_over([metric.of(run.measurement) for run in self.runs])


@dataclass(frozen=True)
class Summary:
    """The measured configurations, and the one that ratios refer to."""

    measured: tuple[ConfigurationSummary, ...]
    reference: ConfigurationSummary | None
    """The fastest baseline by output tokens/s: beating a slow one proves nothing. None
    when no baseline was measured, or nothing but it."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What tables show: goodput, too, where every run has one."""
        runs = [run for one in self.measured for run in one.runs]
        if runs and all(run.measurement.request_goodput is not None for run in runs):
            return (REQUEST_GOODPUT, *METRICS)
        return METRICS

    @property
    def plan(self) -> ConfigurationSummary | None:
        """The plan under test, if it was measured."""
        return next((one for one in self.measured if one.configuration.role == "plan"), None)

    def speedup(self, one: ConfigurationSummary, metric: Metric) -> float | None:
        """How many times better than the reference; None for the reference itself."""
        if self.reference is None or one.name == self.reference.name:
            return None
        return metric.speedup(one.value(metric).mean, self.reference.value(metric).mean)

    def best(self, metric: Metric) -> str | None:
        """Name of the configuration that is best at this; None with nothing to compare."""
        if len(self.measured) < 2:
            return None
        choose = max if metric.higher_is_better else min
        return choose(self.measured, key=lambda one: one.value(metric).mean).name


def summarise(results: Results) -> Summary:
    """Put the repeats of each configuration together."""
    measured = tuple(
        ConfigurationSummary(configuration, runs)
        for configuration in results.configurations
        if (runs := results.runs_of(configuration.name))
    )
    baselines = [one for one in measured if one.configuration.role == "baseline"]
    fastest = max(baselines, key=_output_throughput, default=None)
    return Summary(measured, fastest if len(measured) > 1 else None)


def _output_throughput(one: ConfigurationSummary) -> float:
    return one.value(OUTPUT_THROUGHPUT).mean


def resolved(one: Value, other: Value) -> bool | None:
    """Whether two figures differ by more than noise; None when a repeat is missing to tell."""
    if one.half_width is None or other.half_width is None:
        return None
    return one.low > other.high or other.low > one.high


def ratio_interval(one: Value, other: Value) -> tuple[float, float] | None:
    """The 95% interval of ``one / other``; None when a repeat is missing to tell.

    Relative errors of independent means add up in squares; the interval is symmetrical on a
    logarithmic axis, so that it is the same whichever way the ratio is taken.
    """
    if one.half_width is None or other.half_width is None or min(one.mean, other.mean) <= 0:
        return None
    spread = math.exp(math.hypot(one.half_width / one.mean, other.half_width / other.mean))
    ratio = one.mean / other.mean
    return ratio / spread, ratio * spread


def describe_interval(interval: tuple[float, float] | None) -> str:
    """``1.18x to 1.32x``; empty without an interval."""
    if interval is None:
        return ""
    low, high = interval
    # With two repeats that differ, Student's t leaves anything possible.
    if high > _MEANINGLESS * low:
        return "too few repeats to tell"
    return f"{low:.2f}x to {high:.2f}x"
