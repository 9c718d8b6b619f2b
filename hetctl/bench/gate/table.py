"""The gate's answer in a terminal, from 80 columns on."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.bench.gate.decision import ALARM_CONFIDENCE, CLEAR_CONFIDENCE, Verdict
from hetctl.bench.gate.report import (
    GateReport,
    MetricResult,
    Side,
    format_interval,
    format_ratio,
)
from hetctl.bench.verdict import describe_load

STYLES: dict[Verdict, str] = {
    "regression": "bold red",
    "improvement": "green",
    "ok": "green",
    "not enough evidence": "yellow",
}


def gate_view(report: GateReport, console: Console) -> RenderableType:
    """Headline, sides, one row per metric, the reasons for doubt and notes."""
    ascii_only = console.options.ascii_only
    parts: list[RenderableType] = [
        Text(report.headline, STYLES[report.verdict]),
        Text(f"{report.configuration}: {describe_load(report.offered_load)}", "dim"),
        _side("BASE   ", report.base),
        _side("CURRENT", report.current),
        _table(report, ascii_only),
    ]
    parts += [
        Text(f"{one.metric}: {one.reason}", STYLES[one.verdict])
        for one in report.metrics
        if one.verdict != "ok"
    ]
    parts += [Text(f"note: {note}", "dim") for note in report.notes]
    return Group(*parts)


def _side(name: str, side: Side) -> Text:
    commit = f", commit {side.git_commit}" if side.git_commit else ""
    return Text(f"{name} {side.source}: {side.runs} runs{commit}", "dim")


def _table(report: GateReport, ascii_only: bool) -> Table:
    table = Table(
        box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD,
        padding=(0, 1),
        caption="Medians over runs; ratios are CURRENT divided by BASE.",
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("Fails if", no_wrap=True)
    table.add_column("BASE", justify="right", no_wrap=True)
    table.add_column("CURRENT", justify="right", no_wrap=True)
    table.add_column("Ratio", justify="right", no_wrap=True)
    table.add_column(f"{CLEAR_CONFIDENCE:.0%}, {ALARM_CONFIDENCE:.0%} interval", no_wrap=True)
    for one in report.metrics:
        table.add_row(*_row(one))
    return table


def _row(one: MetricResult) -> tuple[RenderableType, ...]:
    metric = one.definition
    return (
        Text(one.threshold).append(f"\n{one.verdict}", STYLES[one.verdict]),
        metric.format(one.base_median),
        metric.format(one.current_median),
        format_ratio(one.ratio),
        f"{format_interval(one.clear_interval)}\n{format_interval(one.alarm_interval)}",
    )
