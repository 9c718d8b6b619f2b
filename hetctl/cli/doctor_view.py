"""A diagnosis on the terminal."""

from itertools import groupby

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hetctl.doctor.diagnosis import Diagnosis, Finding, Status

_STYLES: dict[Status, str] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "bold red",
    "skipped": "dim",
}
_WORDS: dict[Status, str] = {"skipped": "skip"}
_SUMS: dict[Status, str] = {
    "pass": "passed",
    "warn": "to look at",
    "fail": "failed",
    "skipped": "skipped",
}


def diagnosis_view(diagnosis: Diagnosis) -> RenderableType:
    """Findings by group, remedies below those that need one, and the sum."""
    width = max((len(finding.name) for finding in diagnosis.findings), default=0)
    parts: list[RenderableType] = []
    for group, findings in groupby(diagnosis.findings, key=lambda finding: finding.group):
        parts += [Text(group, style="bold"), _table(list(findings), width)]
    return Group(*parts, "", _sum(diagnosis))


def _table(findings: list[Finding], width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=4)
    table.add_column(width=width)
    table.add_column(overflow="fold")
    for finding in findings:
        word = _WORDS.get(finding.status, finding.status)
        style = _STYLES[finding.status]
        table.add_row(f"[{style}]{word}[/]", finding.name, escape(finding.detail))
        if finding.remedy:
            table.add_row("", "", f"[bold]->[/] {escape(finding.remedy)}")
    return table


def _sum(diagnosis: Diagnosis) -> Text:
    counts = {word: diagnosis.count(status) for status, word in _SUMS.items()}
    return Text(", ".join(f"{count} {word}" for word, count in counts.items() if count))
