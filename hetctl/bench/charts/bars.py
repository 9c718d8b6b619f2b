"""One load: a bar per configuration for the rates, groups of bars for latencies."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hetctl.bench.charts.axis import plain_number, time_unit
from hetctl.bench.charts.svg import INK, chart_style, new_figure, place_holder, to_svg
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

_TITLES = {
    OUTPUT_THROUGHPUT.key: "Output tokens per second",
    REQUEST_THROUGHPUT.key: "Requests per second",
}
_BAR_IN = 0.2
_MARGIN_IN = 0.5
_ROOM_FOR_LABELS = 1.24


def bar_charts(summary: Summary, names: Sequence[str]) -> dict[str, str]:
    """Every chart as an ``<svg>`` element, by title: two throughputs and four latencies.

    Args:
        names: configurations in the order of the colours; not all need be measured here.
    """
    series = [names.index(one.name) for one in summary.measured]
    drawn: dict[str, str] = {}
    with chart_style():
        for metric in (OUTPUT_THROUGHPUT, REQUEST_THROUGHPUT):
            title = _TITLES[metric.key]
            drawn[title] = to_svg(_throughput_chart(summary, metric, series), metric.key, title)
        for name, (title, parts) in LATENCIES.items():
            drawn[title] = to_svg(_latency_chart(summary, parts, series), name, title)
    return drawn


def _throughput_chart(summary: Summary, metric: Metric, series: Sequence[int]) -> "Figure":
    measured = summary.measured
    figure, axes = new_figure(_MARGIN_IN + _BAR_IN * len(measured) * 1.6, long_labels=True)
    values = [one.value(metric) for one in measured]
    for at, value in enumerate(values):
        _bar(axes, at, value, 0.62, series[at], metric.format)
    axes.set_yticks(range(len(measured)), [_short(one) for one in measured])
    _finish(
        axes,
        len(measured),
        values,
        plain_number,
        f"{metric.unit}, higher is better",
    )
    return figure


def _latency_chart(
    summary: Summary, parts: Mapping[str, Metric], series: Sequence[int]
) -> "Figure":
    """Groups of bars, one group per percentile, one bar per configuration."""
    measured = summary.measured
    count = len(measured)
    figure, axes = new_figure(
        _MARGIN_IN + _BAR_IN * len(SHOWN_PARTS) * (count + 0.5), long_labels=True
    )
    values = [one.value(parts[part]) for part in SHOWN_PARTS for one in measured]
    unit, scale = time_unit(max(value.high for value in values))

    def label(seconds: float) -> str:
        return format_number(seconds * scale)

    for group, part in enumerate(SHOWN_PARTS):
        for index, one in enumerate(measured):
            value = one.value(parts[part])
            at = group + (index - (count - 1) / 2) * 0.84 / count
            _bar(axes, at, value, 0.72 / count, series[index], label)
    axes.set_yticks(range(len(SHOWN_PARTS)), list(SHOWN_PARTS))
    _finish(
        axes,
        len(SHOWN_PARTS),
        values,
        lambda seconds: plain_number(seconds * scale),
        f"{unit}, lower is better",
    )
    return figure


def _bar(
    axes: "Axes",
    at: float,
    value: Value,
    height: float,
    series: int,
    label: Callable[[float], str],
) -> None:
    axes.barh(at, value.mean, height, color=place_holder(series), zorder=2)
    if value.half_width:
        axes.errorbar(value.mean, at, xerr=value.half_width, color=INK, capsize=2.5, lw=1, zorder=3)
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
    axes.set_xlabel(label)
    axes.grid(axis="x", zorder=0)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(True)
    axes.spines["bottom"].set_visible(False)


def _short(one: ConfigurationSummary) -> str:
    return one.name if len(one.name) <= 16 else f"{one.name[:15]}…"
