"""How latencies are distributed: which share of the requests took at most so long."""

from collections.abc import Mapping, Sequence

from hetctl.bench.charts.axis import plain_number, time_unit
from hetctl.bench.charts.svg import MUTED, chart_style, new_figure, place_holder, to_svg
from hetctl.bench.metrics import LATENCIES

_HEIGHT_IN = 2.4
_STEPS = 200
"""Points of a curve: a run has up to millions of gaps between tokens."""
_WIDE = 10.0


def distribution_charts(latencies: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, str]:
    """``<svg>`` elements by title.

    Args:
        latencies: of each configuration, in the order of the colours: seconds by name.
    """
    drawn: dict[str, str] = {}
    with chart_style():
        for name, (title, _) in LATENCIES.items():
            samples = [sorted(one.get(name, ())) for one in latencies]
            if any(samples):
                drawn[title] = _chart(name, title, samples)
    return drawn


def _chart(name: str, title: str, samples: Sequence[Sequence[float]]) -> str:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    figure, axes = new_figure(_HEIGHT_IN)
    low = min(one[0] for one in samples if one)
    high = max(one[-1] for one in samples if one)
    unit, factor = time_unit(high)
    for series, one in enumerate(samples):
        if one:
            shares, seconds = _quantiles(one)
            axes.step(
                [s * factor for s in seconds], shares, where="post", color=place_holder(series)
            )
    for share in (50, 99):
        axes.axhline(share, lw=0.8, ls=(0, (3, 3)), color=MUTED, zorder=1)
    if low > 0 and high / low > _WIDE:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 3) if high / low < 3e3 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axes.set_ylim(0, 102)
    axes.set_yticks([0, 50, 90], ["0%", "50%", "90%"])
    axes.grid(axis="x")
    axes.set_title("share that took at most so long", loc="left", fontsize=8.5, color=MUTED)
    axes.set_xlabel(f"{unit} (dashed: p50 and p99)")
    return to_svg(figure, f"distribution-{name}", f"{title}: share of requests")


def _quantiles(ordered: Sequence[float]) -> tuple[list[float], list[float]]:
    """Shares in percent and the values there: every value, or as many as are worth drawing."""
    count = len(ordered)
    steps = min(count, _STEPS)
    shares = [100 * step / steps for step in range(steps + 1)]
    values = [ordered[max(0, round(share / 100 * count) - 1)] for share in shares]
    return shares, values
