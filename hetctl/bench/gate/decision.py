"""The rule: from the runs of one metric to a verdict.

==================== ===================================================================
regression           the ratio is beyond the threshold, and its 99% interval leaves out 1
improvement          as far on the other side, and the 99% interval leaves out 1
ok                   the 90% interval ends before the threshold
not enough evidence  anything else, and always with fewer than five runs on a side
==================== ===================================================================

Failing a build takes more evidence than passing it, hence two intervals. Whether the 99%
interval of five runs against five leaves out 1 depends on nothing but the order of the ten
figures. Of the 252 orders, equally likely between equal servers, it does so in 2 at either
end. So a metric raises a false alarm in 0.8% of comparisons at most, however noisy the
machine and whatever the noise looks like; that the ratio must also be beyond the threshold
makes it much less on a quiet one. With four runs a side even the most extreme of the 70
orders is too common. ``docs/gate.md`` has the figures and what else was tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from hetctl.bench.gate.bootstrap import RatioOfMedians
from hetctl.bench.gate.thresholds import Threshold

Verdict = Literal["regression", "improvement", "ok", "not enough evidence"]

ALARM_CONFIDENCE = 0.99
CLEAR_CONFIDENCE = 0.90
MIN_RUNS = 5


@dataclass(frozen=True)
class Evidence:
    """How two medians compare. Ratios are CURRENT over BASE."""

    ratio: float
    clear_interval: tuple[float, float]
    """At :data:`CLEAR_CONFIDENCE`."""
    alarm_interval: tuple[float, float]
    """At :data:`ALARM_CONFIDENCE`."""


@dataclass(frozen=True)
class Decision:
    """A verdict, and the reason in one sentence."""

    verdict: Verdict
    reason: str
    base_median: float
    current_median: float
    evidence: Evidence | None
    """None where a figure is 0, which has no ratio."""


def decide(threshold: Threshold, base: Sequence[float], current: Sequence[float]) -> Decision:
    """Judge one metric from one figure per run; at least one run on each side."""
    evidence = _evidence(base, current)
    if evidence is None:
        verdict, reason = _not_enough("A figure of 0 has no ratio.")
    elif min(len(base), len(current)) < MIN_RUNS:
        verdict, reason = _not_enough(
            f"{len(base)} and {len(current)} runs are too few to tell from noise; the gate needs "
            f"{MIN_RUNS} on each side (hetctl bench --append adds one, --repeats takes several)."
        )
    else:
        verdict, reason = _weigh(threshold, evidence)
    return Decision(verdict, reason, median(base), median(current), evidence)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict over several metrics: one regression fails all, one doubt leaves doubt."""
    order: tuple[Verdict, ...] = ("regression", "not enough evidence", "improvement", "ok")
    return min(verdicts, key=order.index)


def _evidence(base: Sequence[float], current: Sequence[float]) -> Evidence | None:
    if min(*base, *current) <= 0:
        return None
    ratio = RatioOfMedians(base, current)
    return Evidence(ratio.value, ratio.interval(CLEAR_CONFIDENCE), ratio.interval(ALARM_CONFIDENCE))


def _not_enough(reason: str) -> tuple[Verdict, str]:
    return "not enough evidence", reason


def _weigh(threshold: Threshold, evidence: Evidence) -> tuple[Verdict, str]:
    """Everything as slowdowns, above 1 when worse, for rates and latencies alike."""
    rate = threshold.metric.higher_is_better
    limit = 1 / threshold.limit if rate else threshold.limit
    slowdown = 1 / evidence.ratio if rate else evidence.ratio
    alarm_low, alarm_high = _as_slowdown(evidence.alarm_interval, rate)
    _, clear_high = _as_slowdown(evidence.clear_interval, rate)
    alarm, clear = f"{ALARM_CONFIDENCE:.0%}", f"{CLEAR_CONFIDENCE:.0%}"
    if slowdown > limit and alarm_low > 1:
        reason = f"The ratio is beyond {threshold}, and the {alarm} interval leaves out 1."
        return "regression", reason
    if 1 / slowdown > limit and alarm_high < 1:
        reason = f"Better by more than the threshold, and the {alarm} interval leaves out 1."
        return "improvement", reason
    if clear_high < limit:
        return "ok", f"The {clear} interval ends before the threshold."
    if slowdown > limit:
        return _not_enough(f"The ratio is beyond {threshold}, but the {alarm} interval holds 1.")
    return _not_enough(f"The {clear} interval reaches beyond {threshold}.")


def _as_slowdown(interval: tuple[float, float], rate: bool) -> tuple[float, float]:
    low, high = interval
    return (1 / high, 1 / low) if rate else (low, high)
