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
    """That was measured, None where it is not known."""
    started: AwareDatetime
    """When its first run began."""
    runs: PositiveInt
    """How many there are."""


class Interval(Frozen):
    """A confidence interval of a ratio."""

    confidence: PositiveFloat
    """0.9 or 0.99."""
    low: PositiveFloat
    """Of the ratio."""
    high: PositiveFloat
    """Of the ratio."""


class MetricResult(Frozen):
    """One metric. Ratios are CURRENT over BASE; medians are over runs, in base units."""

    metric: str
    """By vLLM's name: ``p50_ttft``."""
    threshold: str
    """As given: ``output_throughput<0.95``."""
    verdict: Verdict
    reason: str
    """One sentence."""
    base_median: NonNegativeFloat
    current_median: NonNegativeFloat
    ratio: PositiveFloat | None = None
    """None where a figure is 0, which has no ratio."""
    clear_interval: Interval | None = None
    """At 90%: passing asks for it to end before the threshold."""
    alarm_interval: Interval | None = None
    """At 99%: failing asks for it to leave out 1."""
    base: tuple[float, ...]
    """One figure per run, in the order they ran."""
    current: tuple[float, ...]
    """As ``base``."""

    @property
    def definition(self) -> Metric:
        return find_metric(self.metric)


class GateReport(Document):
    """The verdict over all metrics, and what it rests on."""

    KIND: ClassVar[str] = "hetctl.gate"

    verdict: Verdict
    """The worst of the metrics'."""
    model: str
    """Folder or hub id."""
    configuration: str
    """Which one was compared."""
    offered_load: Load
    """What both sides were sent."""
    base: Side
    current: Side
    metrics: tuple[MetricResult, ...]
    """One per threshold."""
    allowed: tuple[Aspect, ...] = ()
    """What may differ, as asked for."""
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
