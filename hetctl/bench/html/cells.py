"""The figures of tables and tiles, as texts with what they mean."""

from collections.abc import Callable
from dataclasses import dataclass

from hetctl.bench.efficiency import EFFICIENCY, EfficiencyFigure
from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT, Metric
from hetctl.bench.results import Results
from hetctl.bench.summary import ConfigurationSummary, Summary, Value
from hetctl.bench.verdict import Outcome, outcome_of

_TILES = (OUTPUT_THROUGHPUT, *(LATENCIES[name][1]["p50"] for name in ("ttft", "tpot", "e2el")))


@dataclass(frozen=True)
class Cell:
    """A figure and how it compares with the reference."""

    text: str
    interval: str = ""
    speedup: str = ""
    outcome: Outcome = "single"
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the side-by-side table; ``group`` begins another kind of figures."""

    title: str
    cells: tuple[Cell, ...]
    group: bool = False


@dataclass(frozen=True)
class Tile:
    """A main figure of the configuration under test."""

    of: str
    """Name of the configuration."""
    title: str
    cell: Cell
    against: str
    """The reference's figure in words; empty without one."""


def rows(results: Results, summary: Summary) -> list[Row]:
    """All metrics, then what a token costs where it is known; of results with one load."""
    found = [
        Row(
            metric.title,
            tuple(_cell(summary, one, metric) for one in summary.measured),
            group=metric.key.startswith("p50_"),
        )
        for metric in summary.metrics
    ]
    costs = [row for figure in EFFICIENCY if (row := _efficiency_row(results, summary, figure))]
    return found + [Row(row.title, row.cells, group=row is costs[0]) for row in costs]


def tiles(summary: Summary) -> list[Tile]:
    """The plan's main figures."""
    one = summary.plan or (summary.measured[0] if summary.measured else None)
    if one is None:
        return []
    reference = summary.reference
    return [
        Tile(
            one.name,
            metric.title,
            _cell(summary, one, metric),
            ""
            if reference is None or reference.name == one.name
            else f"{reference.name}: {metric.format(reference.value(metric).mean)}",
        )
        for metric in _TILES
    ]


def _cell(summary: Summary, one: ConfigurationSummary, metric: Metric) -> Cell:
    value = one.value(metric)
    speedup = summary.speedup(one, metric)
    return Cell(
        text=metric.format(value.mean),
        interval=_interval(value, metric.format),
        speedup="" if speedup is None else f"{speedup:.2f}×",
        outcome="single" if speedup is None else outcome_of(speedup),
        best=summary.best(metric) == one.name,
    )


def _efficiency_row(results: Results, summary: Summary, figure: EfficiencyFigure) -> Row | None:
    """None where no configuration has the figure."""
    values = [figure.value(results, one.runs) for one in summary.measured]
    known = [value.mean for value in values if value]
    if not known:
        return None
    best = (max if figure.higher_is_better else min)(known) if len(known) > 1 else None
    return Row(figure.title, tuple(_efficiency_cell(figure, value, best) for value in values))


def _efficiency_cell(figure: EfficiencyFigure, value: Value | None, best: float | None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(
        text=figure.format(value.mean),
        interval=_interval(value, figure.format),
        best=value.mean == best,
    )


def _interval(value: Value, text: Callable[[float], str]) -> str:
    """Empty with a single repeat, or where it is too small to show."""
    if value.half_width is None or text(value.half_width) == text(0.0):
        return ""
    return f"± {text(value.half_width)}"
