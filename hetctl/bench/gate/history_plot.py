"""The history of a workload as a picture: every run, the medians, the levels, the changes."""

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hetctl.bench.gate.series import Change, Series, changes
from hetctl.bench.metrics import Metric
from hetctl.bench.verdict import describe_load

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The light page's colours; see report.css.
_INK, _MUTED, _GRID = "#1c2024", "#5d6670", "#e2e4e7"
_SERIES, _WORSE, _BETTER = "#0072b2", "#b3430a", "#00704f"
# Any: what rc_context takes differs between matplotlib versions' own type stubs.
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
}
_PANEL_IN = (9.0, 2.1)
_DPI = 110
_LABELS = 16
"""Commits named on the axis at most."""


def history_png(series: Series, metrics: Sequence[Metric]) -> bytes:
    """One panel per metric, over commits from oldest to newest."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width, height = _PANEL_IN
    with mpl.rc_context(_STYLE):
        size = (width, 0.8 + height * len(metrics))
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        figure.suptitle(
            f"{series.configuration} of {series.model}\n{describe_load(series.load)}",
            x=0.01,
            ha="left",
            fontsize=10,
        )
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            _panel(axes, series, metric)
        _name_commits(panels[-1], series)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=_DPI)
    return picture.getvalue()


def _panel(axes: "Axes", series: Series, metric: Metric) -> None:
    from matplotlib.ticker import FuncFormatter

    medians = series.medians(metric)
    for at, point in enumerate(series.points):
        runs = point.figures[metric.key]
        axes.plot([at] * len(runs), runs, "o", ms=3, color=_SERIES, alpha=0.28, mec="none")
    axes.plot(range(len(medians)), medians, "o-", ms=4, lw=1, color=_SERIES)
    found = changes(series, metric)
    _levels(axes, found, len(medians))
    direction = "higher" if metric.higher_is_better else "lower"
    axes.set_title(f"{metric.key}, {direction} is better")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.format(max(value, 0))))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    # Room for the labels of the changes, above the figures.
    axes.margins(x=0.02, y=0.22)


def _levels(axes: "Axes", found: Sequence[Change], count: int) -> None:
    """A line for each level, and at each change what became of the one before."""
    if not found:
        return
    bounds = [0, *(change.at for change in found), count]
    levels = [found[0].old_level, *(change.new_level for change in found)]
    for (start, end), level in zip(pairwise(bounds), levels, strict=True):
        axes.hlines(level, start - 0.5, end - 0.5, color=_INK, lw=1.2, alpha=0.7)
    for change in found:
        colour = _WORSE if change.worse else _BETTER
        axes.axvline(change.at - 0.5, color=colour, lw=1.2, ls="--")
        axes.annotate(
            f"{change.point.label}  x{change.ratio:.3f}",
            (change.at - 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -3),
            textcoords="offset points",
            va="top",
            fontsize=8.5,
            color=colour,
        )


def _name_commits(axes: "Axes", series: Series) -> None:
    count = len(series.points)
    step = -(-count // _LABELS)
    shown = range((count - 1) % step, count, step)
    axes.set_xticks(list(shown), [series.points[at].label for at in shown], rotation=45, ha="right")
