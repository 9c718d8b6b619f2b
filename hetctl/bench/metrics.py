"""The figures that configurations are compared by, in the order they are shown."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import Measurement
from hetctl.errors import UsageError
from hetctl.units import format_duration

Unit = Literal["tok/s", "req/s", "s"]


@dataclass(frozen=True)
class Metric:
    """One figure of a run."""

    key: str
    """vLLM's name, without the unit: ``output_throughput``, ``p99_ttft``."""
    title: str
    unit: Unit
    of: Callable[[Measurement], float]

    @property
    def higher_is_better(self) -> bool:
        return self.unit != "s"

    def format(self, value: float) -> str:
        """The value with three digits or so, and its unit where the title does not give it."""
        return format_duration(value) if self.unit == "s" else format_number(value)

    def speedup(self, value: float, reference: float) -> float | None:
        """How many times better ``value`` is; None when one of them is 0."""
        if value <= 0 or reference <= 0:
            return None
        return value / reference if self.higher_is_better else reference / value


def format_number(value: float) -> str:
    """Three significant digits, thousands separated: ``1,234``, ``56.7``, ``0.123``."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _latency(name: str, title: str) -> dict[str, Metric]:
    def at(field: str) -> Callable[[Measurement], float]:
        return lambda measured: float(getattr(getattr(measured, name), field))

    parts = {"mean": "mean_s", "p50": "p50_s", "p90": "p90_s", "p95": "p95_s", "p99": "p99_s"}
    return {
        part: Metric(f"{part}_{name}", f"{title} {part}", "s", at(field))
        for part, field in parts.items()
    }


OUTPUT_THROUGHPUT = Metric(
    "output_throughput", "Output tok/s", "tok/s", lambda measured: measured.output_throughput
)
TOTAL_THROUGHPUT = Metric(
    "total_token_throughput",
    "Total tok/s",
    "tok/s",
    lambda measured: measured.total_token_throughput,
)
REQUEST_THROUGHPUT = Metric(
    "request_throughput", "Requests/s", "req/s", lambda measured: measured.request_throughput
)


def _goodput(measured: Measurement) -> float:
    if measured.request_goodput is None:
        raise UsageError(
            "request_goodput was not measured: it needs limits on latency; give hetctl bench "
            "--ttft, --tpot or --e2el."
        )
    return measured.request_goodput


REQUEST_GOODPUT = Metric("request_goodput", "Goodput req/s", "req/s", _goodput)
"""Where the load has an SLO only; of others it raises UsageError."""

LATENCIES = {
    "ttft": ("Time to first token", _latency("ttft", "TTFT")),
    "tpot": ("Time per output token", _latency("tpot", "TPOT")),
    "itl": ("Gap between tokens", _latency("itl", "ITL")),
    "e2el": ("End-to-end latency", _latency("e2el", "E2E")),
}
"""Title and metrics by part (``mean``, ``p50`` ... ``p99``) of each latency."""

SHOWN_PARTS = ("p50", "p90", "p99")

METRICS = (
    OUTPUT_THROUGHPUT,
    REQUEST_THROUGHPUT,
    TOTAL_THROUGHPUT,
    *(parts[part] for _, parts in LATENCIES.values() for part in SHOWN_PARTS),
)
"""What tables show."""

ALL_METRICS = (
    OUTPUT_THROUGHPUT,
    REQUEST_THROUGHPUT,
    TOTAL_THROUGHPUT,
    *(metric for _, parts in LATENCIES.values() for metric in parts.values()),
)
"""What every run measures."""

_BY_KEY = {metric.key: metric for metric in (*ALL_METRICS, REQUEST_GOODPUT)}
_LATENCY_FIRST = re.compile(rf"({'|'.join(LATENCIES)})_(\w+)")


def find_metric(name: str) -> Metric:
    """The metric of this name, as vLLM's result files and their readers write it.

    ``p99_ttft``, ``p99_ttft_ms``, ``ttft_p99`` and, for the median, ``median_ttft`` are
    understood.

    Raises:
        UsageError: no metric has this name; the message lists those that exist.
    """
    key = re.sub(r"_m?s$", "", name.lower())
    key = _LATENCY_FIRST.sub(r"\2_\1", key).replace("median_", "p50_")
    if key not in _BY_KEY:
        rates = ", ".join(key for key, metric in _BY_KEY.items() if metric.higher_is_better)
        latencies = ", ".join(LATENCIES)
        raise UsageError(
            f"There is no metric {name!r}. Rates are {rates}; latencies are mean, p50, p90, p95 "
            f"or p99 of {latencies}, written like p99_ttft."
        )
    return _BY_KEY[key]
