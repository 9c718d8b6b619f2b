"""The side-by-side comparison in the terminal."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.bench.efficiency import EFFICIENCY
from hetctl.bench.findings import findings
from hetctl.bench.metrics import METRICS, Metric
from hetctl.bench.results import Results
from hetctl.bench.summary import ConfigurationSummary, Summary, summarise
from hetctl.bench.verdict import judge, outcome_of

_LAST_OF_SECTION = ("total_token_throughput", METRICS[-1].key)
_STYLES = {"win": "green", "loss": "red", "even": "dim"}
_ARROWS = {"win": "▲", "loss": "▼", "even": "="}
_ASCII_ARROWS = {"win": "+", "loss": "-", "even": "="}
_OUTCOME_STYLES = {"win": "bold green", "loss": "bold yellow", "even": "bold", "single": "bold"}
# Value and ratio fit one line next to each other up to here, at 80 columns.
_ONE_LINE_CONFIGURATIONS = 3


def comparison_report(results: Results, console: Console) -> RenderableType:
    """Verdict, table, and what to know before believing them."""
    verdict = judge(results)
    parts: list[RenderableType] = [
        Text(verdict.headline, _OUTCOME_STYLES[verdict.outcome]),
        Text(verdict.detail, "dim"),
    ]
    summary = summarise(results)
    if summary.measured:
        parts.append(comparison_table(results, summary, ascii_only=console.options.ascii_only))
    parts += [
        Text(f"{finding.level}: {finding.text}", "yellow" if finding.level == "warning" else "dim")
        for finding in findings(results)
    ]
    parts += [Text(f"skipped {one.name}: {one.reason}", "dim") for one in results.skipped]
    return Group(*parts)


def comparison_table(results: Results, summary: Summary, ascii_only: bool = False) -> Table:
    """One row per metric, one column per configuration; the best of a row is bold.

    A ratio is how many times *better* than the reference a figure is, for throughput and
    latency alike, so that above 1 is always good; arrows say the same without colour.
    """
    caption = None
    if summary.reference is not None:
        arrows = _ASCII_ARROWS if ascii_only else _ARROWS
        caption = (
            f"Ratios: times better than {summary.reference.name}, the fastest baseline "
            f"({arrows['win']} better, {arrows['loss']} worse)."
        )
    table = Table(
        box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD,
        caption=caption,
        caption_justify="left",
        caption_style="dim",
        padding=(0, 1),
    )
    table.add_column("", no_wrap=True)
    for one in summary.measured:
        table.add_column(one.name, justify="right", style=None)
    for metric in summary.metrics:
        cells = (_cell(summary, one, metric, ascii_only) for one in summary.measured)
        table.add_row(metric.title, *cells, end_section=metric.key in _LAST_OF_SECTION)
    for figure in EFFICIENCY:
        values = [figure.value(results, one.runs) for one in summary.measured]
        if any(values):
            texts = ("" if value is None else figure.format(value.mean) for value in values)
            table.add_row(figure.title, *texts)
    return table


def _cell(summary: Summary, one: ConfigurationSummary, metric: Metric, ascii_only: bool) -> Text:
    value = one.value(metric).mean
    text = Text(metric.format(value), "bold" if summary.best(metric) == one.name else "")
    speedup = summary.speedup(one, metric)
    if speedup is None:
        return text
    outcome = outcome_of(speedup)
    arrow = (_ASCII_ARROWS if ascii_only else _ARROWS)[outcome]
    gap = "  " if len(summary.measured) <= _ONE_LINE_CONFIGURATIONS else "\n"
    return text.append(f"{gap}{speedup:.2f}x {arrow}", f"not bold {_STYLES[outcome]}")
