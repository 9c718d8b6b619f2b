"""Axes that people can read: units that fit the values, few ticks, a scale that shows all."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hetctl.bench.charts.svg import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 20.0
"""A largest value so many times the smallest asks for a logarithmic axis."""


def time_unit(largest_s: float) -> tuple[str, float]:
    """``(unit, how many of it are a second)``."""
    return ("s", 1.0) if largest_s >= 2 else ("ms", 1e3) if largest_s >= 2e-3 else ("us", 1e6)


def plain_number(value: float) -> str:
    """A tick: ``0.5``, ``20``, ``1,000``."""
    return f"{value:,.6g}"


def scale_y(axes: "Axes", values: Iterable[float], unit: str, linear: bool = False) -> None:
    """From zero, or logarithmic where values are far apart and none is zero.

    Args:
        unit: written above the axis.
        linear: keep to a linear axis however far apart they are.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    known = [value for value in values if value == value]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low > 0 and high / low > _WIDE and not linear:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high / low < 500 else (1,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.3, high * 1.4)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_ylim(min(0.0, low), high * 1.1 or 1.0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.grid(axis="y")
    axes.set_title(unit, loc="left", fontsize=8.5, color=MUTED)


def scale_x(axes: "Axes", values: Iterable[float]) -> None:
    """From zero, with few ticks, since they stand side by side."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, max(values, default=0.0) * 1.06 or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))


def scale_loads(axes: "Axes", loads: Sequence[float]) -> None:
    """One tick per load, on a logarithmic axis where they grow by factors."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    spread = len(loads) > 2 and min(loads) > 0 and max(loads) / min(loads) >= 4
    if spread:
        axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    shown = _apart(sorted(set(loads)), spread)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([plain_number(load) for load in shown]))
    axes.margins(x=0.05)


def _apart(loads: Sequence[float], logarithmic: bool) -> list[float]:
    """The loads whose labels do not meet, the first and the last among them."""
    from math import log

    def place(load: float) -> float:
        return log(load) if logarithmic else load

    whole = place(loads[-1]) - place(loads[0]) or 1.0
    shown = [loads[-1]]
    for load in reversed(loads[:-1]):
        first = load == loads[0]
        if (place(shown[-1]) - place(load)) / whole >= 0.09:
            shown.append(load)
        elif first and len(shown) > 1:
            shown[-1] = load
    return shown[::-1]
