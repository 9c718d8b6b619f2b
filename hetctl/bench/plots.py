"""The charts of the report, as SVG that takes its colours from the page.

matplotlib writes fixed colours. The figures are therefore drawn in place-holder colours
which are then replaced by CSS variables, so that one chart serves the light, the dark and
the printed page.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hetctl.bench.metrics import (
    LATENCIES,
    OUTPUT_THROUGHPUT,
    REQUEST_THROUGHPUT,
    SHOWN_PARTS,
    Metric,
    format_number,
)
from hetctl.bench.summary import ConfigurationSummary, Summary, Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 6
"""Colours that the page defines, ``--series-1`` ...; more configurations start over."""

_INK, _MUTED, _GRID = "#010101", "#020202", "#030303"
_PLACE_HOLDERS = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)"} | {
    f"#0a0a{i:02x}": f"var(--series-{i})" for i in range(1, SERIES + 1)
}
# Any: what rc_context takes differs between matplotlib versions' own type stubs.
_STYLE: Any = {
    # Text stays text: it can be selected, searched and scaled, and takes the page's font.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _INK,
    "ytick.major.size": 0,
    "xtick.major.size": 0,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
}
_WIDTH_IN = 4.5
_BAR_IN = 0.2
_MARGIN_IN = 0.5
_ROOM_FOR_LABELS = 1.24


def charts(summary: Summary) -> dict[str, str]:
    """Every chart as an ``<svg>`` element, by name: two throughputs and four latencies."""
    import matplotlib as mpl

    drawn: dict[str, str] = {}
    with mpl.rc_context(_STYLE):
        for metric in (OUTPUT_THROUGHPUT, REQUEST_THROUGHPUT):
            drawn[metric.key] = _svg(_throughput_chart(summary, metric), metric.key)
        for name, (_, parts) in LATENCIES.items():
            drawn[name] = _svg(_latency_chart(summary, parts), name)
    return drawn


def series_colour(index: int) -> str:
    """The CSS colour of the configuration at this place."""
    return f"var(--series-{index % SERIES + 1})"


def _throughput_chart(summary: Summary, metric: Metric) -> "Figure":
    measured = summary.measured
    figure, axes = _new_figure(rows=len(measured) * 1.6)
    values = [one.value(metric) for one in measured]
    for at, value in enumerate(values):
        _bar(axes, at, value, 0.62, at, metric.format)
    axes.set_yticks(range(len(measured)), [_short(one) for one in measured])
    _finish(
        axes,
        len(measured),
        values,
        lambda value: f"{value:,.6g}",
        f"{metric.unit}, higher is better",
    )
    return figure


def _latency_chart(summary: Summary, parts: Mapping[str, Metric]) -> "Figure":
    """Groups of bars, one group per percentile, one bar per configuration."""
    measured = summary.measured
    count = len(measured)
    figure, axes = _new_figure(rows=len(SHOWN_PARTS) * (count + 0.5))
    values = [one.value(parts[part]) for part in SHOWN_PARTS for one in measured]
    unit, scale = _time_unit(max(value.high for value in values))

    def label(seconds: float) -> str:
        return format_number(seconds * scale)

    for group, part in enumerate(SHOWN_PARTS):
        for index, one in enumerate(measured):
            value = one.value(parts[part])
            at = group + (index - (count - 1) / 2) * 0.84 / count
            _bar(axes, at, value, 0.72 / count, index, label)
    axes.set_yticks(range(len(SHOWN_PARTS)), list(SHOWN_PARTS))
    _finish(
        axes,
        len(SHOWN_PARTS),
        values,
        lambda seconds: f"{seconds * scale:,.6g}",
        f"{unit}, lower is better",
    )
    return figure


def _new_figure(rows: float) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, _MARGIN_IN + _BAR_IN * rows), layout="constrained")
    return figure, figure.add_subplot()


def _bar(
    axes: "Axes",
    at: float,
    value: Value,
    height: float,
    series: int,
    label: Callable[[float], str],
) -> None:
    colour = f"#0a0a{series % SERIES + 1:02x}"
    axes.barh(at, value.mean, height, color=colour, zorder=2)
    if value.half_width:
        axes.errorbar(
            value.mean, at, xerr=value.half_width, color=_INK, capsize=2.5, lw=1, zorder=3
        )
    axes.annotate(
        label(value.mean),
        (value.high, at),
        xytext=(4, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=8.5,
    )


def _finish(
    axes: "Axes",
    groups: int,
    values: Sequence[Value],
    tick: Callable[[float], str],
    label: str,
) -> None:
    """Axes from zero, a light grid, first configuration on top, room for the bars' labels."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(groups - 0.5, -0.5)
    axes.set_xlim(0, max(value.high for value in values) * _ROOM_FOR_LABELS or 1)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.set_xlabel(label, fontsize=8.5)
    axes.grid(axis="x", zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _time_unit(largest_s: float) -> tuple[str, float]:
    return ("s", 1.0) if largest_s >= 2 else ("ms", 1e3) if largest_s >= 2e-3 else ("us", 1e6)


def _short(one: ConfigurationSummary) -> str:
    return one.name if len(one.name) <= 16 else f"{one.name[:15]}…"


def _svg(figure: "Figure", name: str) -> str:
    """The ``<svg>`` element alone; ids start with ``name``, for many figures share a page."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    # The page scales the chart; a fixed size would overflow a narrow one.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 role="img"', svg, count=1)
    for place_holder, variable in _PLACE_HOLDERS.items():
        svg = svg.replace(place_holder, variable)
    return svg
