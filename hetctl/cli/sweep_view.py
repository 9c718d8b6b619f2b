"""How a sweep looks in a terminal, from 80 columns on."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.plan import RankedStrategy
from hetctl.sweep import Sweep, SweepPoint
from hetctl.units import format_duration, format_throughput


def sweep_view(sweep: Sweep) -> RenderableType:
    """One row per load: the choice, its speed, and the next best that can be launched."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column(sweep.field.replace("_len", ""), justify="right", no_wrap=True)
    table.add_column("choice")
    for name in ("tokens/s", "TTFT", "TPOT"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next best")
    before: str | None = None
    for value, point in zip(sweep.values, sweep.points, strict=True):
        chosen = point.chosen
        if chosen is None or chosen.prediction is None:
            table.add_row(str(value), Text("does not fit", style="dim"))
            continue
        table.add_row(
            str(value),
            Text(chosen.name, style="" if chosen.name == before else "bold"),
            format_throughput(chosen.prediction.output_tokens_per_s),
            format_duration(chosen.prediction.ttft_s),
            format_duration(chosen.prediction.tpot_s),
            _next_best(point, chosen),
        )
        before = chosen.name
    return Group(Text(sweep.model, style="bold"), table)


def _next_best(point: SweepPoint, chosen: RankedStrategy) -> str:
    others = (e for e in point.ranking if e.prediction and not e.chosen)
    other = next(others, None)
    if other is None or other.prediction is None or chosen.prediction is None:
        return "-"
    share = other.prediction.output_tokens_per_s / chosen.prediction.output_tokens_per_s
    return f"{other.name} ({share:.0%})"
