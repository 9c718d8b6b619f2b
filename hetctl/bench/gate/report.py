"""What the gate found: the JSON document that every other output is made from."""

from typing import ClassVar

from pydantic import AwareDatetime, NonNegativeFloat, PositiveFloat, PositiveInt

from hetctl.bench.circumstances import Aspect
from hetctl.bench.gate.decision import Verdict
from hetctl.bench.metrics import Metric, find_metric
from hetctl.bench.results import Load
from hetctl.document import Document, Frozen


class Side(Frozen):
    """One of the two sets of runs."""

    source: str
    """The folder it was read from."""
    git_commit: str | None
    started: AwareDatetime
    runs: PositiveInt


class Interval(Frozen):
    """A confidence interval of a ratio."""

    confidence: PositiveFloat
    low: PositiveFloat
    high: PositiveFloat


class MetricResult(Frozen):
    """One metric. Ratios are CURRENT over BASE; medians are over runs, in base units."""

    metric: str
    threshold: str
    """As given: ``output_throughput<0.95``."""
    verdict: Verdict
    reason: str
    base_median: NonNegativeFloat
    current_median: NonNegativeFloat
    ratio: PositiveFloat | None = None
    """None where a figure is 0, which has no ratio."""
    clear_interval: Interval | None = None
    alarm_interval: Interval | None = None
    base: tuple[float, ...]
    """One figure per run, in the order they ran."""
    current: tuple[float, ...]

    @property
    def definition(self) -> Metric:
        return find_metric(self.metric)


class GateReport(Document):
    """The verdict over all metrics, and what it rests on."""

    KIND: ClassVar[str] = "hetctl.gate"

    verdict: Verdict
    model: str
    configuration: str
    offered_load: Load
    base: Side
    current: Side
    metrics: tuple[MetricResult, ...]
    allowed: tuple[Aspect, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the verdict."""

    @property
    def headline(self) -> str:
        """The verdict in one sentence."""
        by_verdict = {
            verdict: [one.metric for one in self.metrics if one.verdict == verdict]
            for verdict in ("regression", "not enough evidence", "improvement")
        }
        named = ", ".join(by_verdict.get(self.verdict, ()))
        return {
            "regression": f"Regression in {named}.",
            "not enough evidence": f"Not enough evidence on {named}.",
            "improvement": f"No regression, and an improvement in {named}.",
            "ok": "No regression.",
        }[self.verdict]


def format_interval(interval: Interval | None) -> str:
    """``0.981 to 1.024``."""
    return "none" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def format_ratio(ratio: float | None) -> str:
    return "none" if ratio is None else f"{ratio:.3f}"
