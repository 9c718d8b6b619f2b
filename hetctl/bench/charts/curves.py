"""A sweep: throughput against latency, and each figure over the load."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hetctl.bench.charts.axis import scale_loads, scale_x, scale_y, time_unit
from hetctl.bench.charts.svg import chart_style, new_figure, place_holder, to_svg
from hetctl.bench.efficiency import EFFICIENCY
from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT, Metric
from hetctl.bench.results import Load, Results, Run
from hetctl.bench.summary import Value, value_over
from hetctl.bench.telemetry.digest import TelemetryDigest
from hetctl.units import GIB, MIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT_IN = 2.6
_WHISKERS = 1.3
"""Intervals are shown up to so many times the highest mean, and cut off there."""


@dataclass(frozen=True)
class Quantity:
    """What an axis shows."""

    title: str
    unit: str
    """``s`` is shown in the unit that fits."""
    of: Callable[[Results, tuple[Run, ...]], Value | None]
    """Over the repeats of one configuration at one point; None where it is not known."""


def _metric(title: str, metric: Metric) -> Quantity:
    return Quantity(title, metric.unit, lambda _, runs: _over(metric.of, runs))


def _over(of: Callable[..., float | None], runs: Iterable[Run]) -> Value | None:
    """Over runs that have the figure."""
    known = [figure for run in runs if (figure := of(run.measurement)) is not None]
    return value_over(known) if known else None


def _digest(title: str, unit: str, of: Callable[[TelemetryDigest], float | None]) -> Quantity:
    def value(_: Results, runs: tuple[Run, ...]) -> Value | None:
        digests = (run.telemetry_digest for run in runs if run.telemetry_digest)
        known = [figure for digest in digests if (figure := of(digest)) is not None]
        return value_over(known) if known else None

    return Quantity(title, unit, value)


def _field(name: str, factor: float) -> Callable[[TelemetryDigest], float | None]:
    def scaled(digest: TelemetryDigest) -> float | None:
        found: float | None = getattr(digest, name)
        return None if found is None else found * factor

    return scaled


def _gpus(
    name: str, factor: float, together: Callable[[Sequence[float]], float]
) -> Callable[[TelemetryDigest], float | None]:
    def all_gpus(digest: TelemetryDigest) -> float | None:
        known = [value for gpu in digest.gpus if (value := getattr(gpu, name)) is not None]
        return together(known) * factor if known else None

    return all_gpus


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


_THROUGHPUT = _metric("Output tokens per second", OUTPUT_THROUGHPUT)
_TRADE_OFFS = (
    _metric("Time per output token, p50", LATENCIES["tpot"][1]["p50"]),
    _metric("Time to first token, p50", LATENCIES["ttft"][1]["p50"]),
)
_OVER_LOAD = (
    _THROUGHPUT,
    Quantity(
        "Requests per second within the objective",
        "req/s",
        lambda _, runs: _over(lambda measured: measured.request_goodput, runs),
    ),
    _metric("Time to first token, p99", LATENCIES["ttft"][1]["p99"]),
    _metric("End-to-end latency, p50", LATENCIES["e2el"][1]["p50"]),
    *(Quantity(one.long_title, one.unit, one.value) for one in EFFICIENCY),
)
_MACHINE = (
    _digest("GPU power", "W, all GPUs", _gpus("power_mean_w", 1, sum)),
    _digest("GPU clock", "MHz, mean", _gpus("sm_clock_mean_hz", 1e-6, _mean)),
    _digest("GPU temperature", "°C, highest", _gpus("temperature_max_c", 1, max)),
    _digest("GPU busy", "% of the time", _gpus("busy_mean", 100, _mean)),
    _digest("CPU load of the server", "CPUs", _field("server_cpus_mean", 1)),
    _digest("Foreign load", "% of the CPUs' time", _field("foreign_cpu_share", 100)),
    _digest("CPU clock", "GHz, mean", _field("cpu_frequency_mean_hz", 1e-9)),
)


def sweep_charts(results: Results) -> dict[str, str]:
    """``<svg>`` elements by title: throughput against latency, then all over the load."""
    with chart_style():
        drawn = {
            f"Throughput against {latency.title[0].lower()}{latency.title[1:]}": _against(
                results, latency
            )
            for latency in _TRADE_OFFS
        }
        return drawn | _charts(results, _OVER_LOAD)


def machine_charts(results: Results) -> dict[str, str]:
    """``<svg>`` elements by title: what the machine did at each load, on average."""
    with chart_style():
        return _charts(results, _MACHINE)


def measured_names(results: Results) -> tuple[str, ...]:
    """Configurations that have a run, in the order of their colours."""
    return tuple(one.name for one in results.configurations if results.runs_of(one.name))


def _charts(results: Results, quantities: Iterable[Quantity]) -> dict[str, str]:
    """Over the load; what no configuration knows at two loads is left out."""
    drawn = {}
    for quantity in quantities:
        curves = [_curve(results, name, None, quantity) for name in measured_names(results)]
        if any(len(curve) > 1 for curve in curves):
            drawn[f"{quantity.title}, over load"] = _over_load(results, quantity, curves)
    return drawn


_Curve = list[tuple[Value, Value]]


def _curve(results: Results, name: str, x: Quantity | None, y: Quantity) -> _Curve:
    """Places of one configuration, one per load that it has both figures at."""
    curve = []
    for load in results.loads:
        runs = results.runs_of(name, load.point)
        at = x.of(results, runs) if x else Value(_place(load), None, 1)
        value = y.of(results, runs)
        if runs and at and value:
            curve.append((at, value))
    return curve


def _place(load: Load) -> float:
    """Where a load is on the axis: requests per second or, in a closed loop, at a time."""
    return load.request_rate or float(load.max_concurrency or 0)


def _against(results: Results, latency: Quantity) -> str:
    figure, axes = new_figure(_HEIGHT_IN)
    names = measured_names(results)
    curves = [_curve(results, name, _THROUGHPUT, latency) for name in names]
    _draw(axes, curves, latency, [_heaviest(results, name) for name in names])
    rates = [x.mean for curve in curves for x, _ in curve]
    scale_x(axes, rates)
    axes.set_xlabel("output tok/s; lower and further right is better")
    title = f"{_THROUGHPUT.title} against {latency.title}"
    return to_svg(figure, _id("against", latency.title), title)


def _over_load(results: Results, quantity: Quantity, curves: Sequence[_Curve]) -> str:
    figure, axes = new_figure(_HEIGHT_IN)
    _draw(axes, curves, quantity)
    scale_loads(axes, [_place(load) for load in results.loads])
    open_loop = any(load.request_rate for load in results.loads)
    axes.set_xlabel("requests per second offered" if open_loop else "requests at a time")
    return to_svg(figure, _id("load", quantity.title), f"{quantity.title} over load")


def _heaviest(results: Results, name: str) -> str:
    """The last load that a configuration was measured at."""
    loads = [load for load in results.loads if results.runs_of(name, load.point)]
    return f"{_place(loads[-1]):g}" if loads else ""


def _draw(
    axes: "Axes", curves: Sequence[_Curve], quantity: Quantity, ends: Sequence[str] = ()
) -> None:
    """The curves with their intervals, in a unit that fits; ``ends`` are written at theirs."""
    highest = max((y.mean for curve in curves for _, y in curve), default=0.0)
    unit, factor = quantity.unit, 1.0
    if unit == "s":
        unit, factor = time_unit(highest)
    elif unit == "bytes":
        unit, factor = ("GiB", 1 / GIB) if highest >= GIB else ("MiB", 1 / MIB)
    for series, curve in enumerate(curves):
        colour = place_holder(series)
        xs = [x.mean for x, _ in curve]
        ys = [y.mean * factor for _, y in curve]
        axes.plot(xs, ys, "o-", color=colour, ms=4, lw=1.6, zorder=3)
        if any(y.half_width for _, y in curve):
            # An interval of two repeats can be longer than the value itself.
            below = [min(y.half_width or 0.0, 0.999 * y.mean) * factor for _, y in curve]
            above = [(y.half_width or 0.0) * factor for _, y in curve]
            axes.errorbar(
                xs, ys, yerr=[below, above], fmt="none", ecolor=colour, lw=0.9, capsize=2, zorder=2
            )
        if curve and ends:
            axes.annotate(
                ends[series],
                (xs[-1], ys[-1]),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    # An interval of few repeats can be so long that the curves would be flat beside it.
    reach = [min(y.high, _WHISKERS * highest) for curve in curves for _, y in curve]
    means = [y.mean for curve in curves for _, y in curve]
    scale_y(axes, [value * factor for value in (*means, *reach)], unit)


def _id(*parts: str) -> str:
    """A name for the elements of a chart."""
    return "-".join("".join(c if c.isalnum() else "-" for c in part.lower()) for part in parts)
