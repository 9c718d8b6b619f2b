"""The gate's answer for a pull request or a job summary."""

from collections.abc import Iterator

from hetctl.bench.gate.decision import ALARM_CONFIDENCE, CLEAR_CONFIDENCE
from hetctl.bench.gate.report import (
    GateReport,
    MetricResult,
    Side,
    format_interval,
    format_ratio,
)
from hetctl.bench.markdown import markdown_table, markdown_text
from hetctl.bench.verdict import describe_load

_COLUMNS = (
    "Fails if",
    "BASE",
    "CURRENT",
    "Ratio",
    f"{CLEAR_CONFIDENCE:.0%} interval",
    f"{ALARM_CONFIDENCE:.0%} interval",
    "Verdict",
)


def to_markdown(report: GateReport) -> str:
    """GitHub-flavoured Markdown; names and messages cannot inject markup."""
    return "\n\n".join(_sections(report)) + "\n"


def _sections(report: GateReport) -> Iterator[str]:
    yield f"### Benchmark gate: {report.verdict}"
    yield (
        f"**{markdown_text(report.headline)}** {markdown_text(report.model)}, "
        f"{markdown_text(report.configuration)}: {describe_load(report.offered_load)}."
    )
    yield markdown_table(_COLUMNS, [_row(one) for one in report.metrics])
    yield (
        "Medians over runs; ratios are CURRENT divided by BASE. "
        f"BASE is {_side(report.base)}; CURRENT is {_side(report.current)}."
    )
    remarks = [f"{one.metric}: {one.reason}" for one in report.metrics if one.verdict != "ok"]
    remarks += [f"note: {note}" for note in report.notes]
    if remarks:
        yield "\n".join(f"* {markdown_text(remark)}" for remark in remarks)


def _row(one: MetricResult) -> tuple[str, ...]:
    metric = one.definition
    verdict = one.verdict if one.verdict == "ok" else f"**{one.verdict}**"
    return (
        markdown_text(one.threshold),
        metric.format(one.base_median),
        metric.format(one.current_median),
        format_ratio(one.ratio),
        format_interval(one.clear_interval),
        format_interval(one.alarm_interval),
        verdict,
    )


def _side(side: Side) -> str:
    commit = f" of commit {markdown_text(side.git_commit)}" if side.git_commit else ""
    return f"{side.runs} runs{commit}"
