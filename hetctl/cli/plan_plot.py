"""A plan as a picture: time and memory per rank, and every strategy over concurrency."""

from pathlib import Path
from typing import TYPE_CHECKING

from hetctl.errors import HetctlError, UsageError
from hetctl.plan import Plan, RankPlan
from hetctl.sweep import Sweep
from hetctl.units import GIB

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".png", ".svg", ".pdf")

# Okabe and Ito's colours, told apart with every kind of colour vision.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")

# Where there are more strategies than colours.
_STYLES = ("-", "--", ":")

_STACKED = {
    "weights": _COLOURS[0],
    "streaming": _COLOURS[1],
    "KV cache": _COLOURS[2],
    "hand-overs": _COLOURS[3],
    "activations": _COLOURS[3],
    "overhead": _COLOURS[4],
    "framework": _COLOURS[4],
    "CUDA graphs": _COLOURS[5],
}
_PARTS = (
    ("weights", "weights_s"),
    ("streaming", "stream_s"),
    ("KV cache", "attention_s"),
    ("hand-overs", "transfer_s"),
    ("overhead", "overhead_s"),
)
_MEMORY = (
    ("weights", "weight_bytes"),
    ("KV cache", "kv_cache_bytes"),
    ("activations", "activation_bytes"),
    ("CUDA graphs", "cuda_graph_bytes"),
    ("framework", "framework_bytes"),
)


def check_plot_name(path: Path) -> None:
    """Refuse a file whose format cannot be told, before anything is computed."""
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(f"--plot {path}: the name must end with {', '.join(_FORMATS)}.")


def plot_plan(plan: Plan, sweep: Sweep, path: Path) -> None:
    """Draw ``plan``, and ``sweep`` over concurrency, into ``path``.

    Raises:
        HetctlError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    bars = max(2.0, 0.35 * len(plan.ranks) + 1)
    figure, (time, memory, speed) = plt.subplots(
        3, 1, figsize=(8, 2 * bars + 4.5), height_ratios=(bars, bars, 4), layout="constrained"
    )
    figure.suptitle(f"{Path(plan.model).name}: {plan.strategy}", fontsize=11)
    _draw_time(time, plan)
    _draw_memory(memory, plan)
    _draw_speed(speed, plan, sweep)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise HetctlError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        plt.close(figure)


def _label(rank: RankPlan) -> str:
    where = rank.device if rank.numa_node is None else f"{rank.device} node {rank.numa_node}"
    return f"{rank.rank}: {where}"


def _draw_time(axes: "Axes", plan: Plan) -> None:
    _stack(
        axes,
        plan,
        [(name, [1e3 * getattr(r.decode_parts, f) for r in plan.ranks]) for name, f in _PARTS],
    )
    axes.set_xlabel(f"ms of a decode step of {plan.workload.concurrency} sequences")


def _draw_memory(axes: "Axes", plan: Plan) -> None:
    _stack(
        axes,
        plan,
        [(name, [getattr(rank, f) / GIB for rank in plan.ranks]) for name, f in _MEMORY],
    )
    for y, rank in enumerate(plan.ranks):
        limit = rank.memory_limit_bytes / GIB
        axes.plot([limit, limit], [y - 0.4, y + 0.4], color="black", linewidth=1.5)
    axes.set_xlabel("GiB; the black line is what the rank may take")


def _stack(axes: "Axes", plan: Plan, parts: list[tuple[str, list[float]]]) -> None:
    left = [0.0] * len(plan.ranks)
    places = list(range(len(plan.ranks)))
    for name, widths in parts:
        if any(widths):
            axes.barh(places, widths, left=left, color=_STACKED[name], label=name, height=0.7)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(places, [_label(rank) for rank in plan.ranks])
    axes.invert_yaxis()
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_speed(axes: "Axes", plan: Plan, sweep: Sweep) -> None:
    names = dict.fromkeys(
        entry.name for point in sweep.points for entry in point.ranking if entry.prediction
    )
    for number, name in enumerate(names):
        xs, ys = [], []
        for value, point in zip(sweep.values, sweep.points, strict=True):
            for entry in point.ranking:
                if entry.name == name and entry.prediction is not None:
                    xs.append(value)
                    ys.append(entry.prediction.output_tokens_per_s)
        turn, colour = divmod(number, len(_COLOURS))
        style = _STYLES[turn % len(_STYLES)]
        axes.plot(xs, ys, style, marker="o", markersize=3, color=_COLOURS[colour], label=name)
    for crossover in plan.crossovers[1:]:
        axes.axvline(crossover.concurrency, color="grey", linewidth=0.8, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.tick_params(axis="y", which="both", labelsize=8)
    axes.set_xticks(sweep.values, [str(value) for value in sweep.values])
    axes.set_xlabel("concurrent sequences; dashed where the choice changes")
    axes.set_ylabel("tokens/s")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", alpha=0.3)
