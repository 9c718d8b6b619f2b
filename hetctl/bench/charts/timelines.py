"""What the machine did while a load ran, second by second."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hetctl.bench.charts.axis import scale_x, scale_y
from hetctl.bench.charts.svg import chart_style, new_figure, place_holder, to_svg
from hetctl.bench.telemetry.record import Record, Window

_HEIGHT_IN = 1.8
_POINTS = 400
"""Readings that are drawn of a run at most."""


@dataclass(frozen=True)
class Timeline:
    """One figure of the machine."""

    title: str
    unit: str
    columns: Callable[[str], bool]
    """Which columns of a record it is made of."""
    together: Callable[[Sequence[float]], float]
    factor: float = 1.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _of_gpus(name: str) -> Callable[[str], bool]:
    return lambda column: column.startswith("gpu") and column.partition("_")[2] == name


_GIB = 1 / 1024**3
_TIMELINES = (
    Timeline("GPU busy", "% of the time", _of_gpus("busy_share"), _mean, 100),
    Timeline("GPU power", "W, all GPUs", _of_gpus("power_w"), sum),
    Timeline("GPU clock", "MHz, mean", _of_gpus("sm_clock_hz"), _mean, 1e-6),
    Timeline("GPU temperature", "°C, hottest", _of_gpus("temperature_c"), max),
    Timeline("GPU memory", "GiB, all GPUs", _of_gpus("memory_used_bytes"), sum, _GIB),
    Timeline("Server's CPU load", "CPUs", "server_cpus".__eq__, sum),
    Timeline("Foreign CPU load", "CPUs", "foreign_cpus".__eq__, sum),
    Timeline("CPU clock", "GHz, mean", "cpu_frequency_hz".__eq__, _mean, 1e-9),
    Timeline("Memory in use", "GiB", "memory_used_bytes".__eq__, sum, _GIB),
    Timeline("Server's own memory", "GiB", "server_memory_bytes".__eq__, sum, _GIB),
)


def timeline_charts(records: Sequence[tuple[Record, Window] | None]) -> dict[str, str]:
    """``<svg>`` elements by title: each figure that any record has.

    Args:
        records: of each configuration, in the order of the colours, one run with the time of
            its load; None where there is no record.
    """
    drawn: dict[str, str] = {}
    with chart_style():
        for timeline in _TIMELINES:
            lines = [_line(timeline, *one) if one else [] for one in records]
            if any(len(line) > 1 for line in lines):
                drawn[timeline.title] = _chart(timeline, lines)
    return drawn


_Line = list[tuple[float, float]]


def _line(timeline: Timeline, record: Record, window: Window) -> _Line:
    """``(seconds since the load began, figure)``."""
    columns = [values for name, values in record.columns.items() if timeline.columns(name)]
    line = []
    for at_s, *cells in zip(record.times_s, *columns, strict=True):
        known = [cell for cell in cells if cell is not None]
        if known and window.begin_s < at_s <= window.end_s + 1e-3:
            line.append((at_s - window.begin_s, timeline.together(known) * timeline.factor))
    step = -(-len(line) // _POINTS)
    return line[::step] if step else []


def _chart(timeline: Timeline, lines: Sequence[_Line]) -> str:
    figure, axes = new_figure(_HEIGHT_IN)
    for series, line in enumerate(lines):
        axes.plot(
            *zip(*line, strict=True) if line else ([], []), color=place_holder(series), lw=1.4
        )
    scale_y(axes, [value for line in lines for _, value in line], timeline.unit, linear=True)
    scale_x(axes, [at_s for line in lines for at_s, _ in line])
    axes.set_xlabel("seconds of load")
    name = "".join(c if c.isalnum() else "-" for c in timeline.title.lower())
    return to_svg(figure, f"time-{name}", f"{timeline.title} over time")
