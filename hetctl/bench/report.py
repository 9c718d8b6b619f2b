"""Writes every report that is made from the results."""

from pathlib import Path

from hetctl.bench.csv import to_csv
from hetctl.bench.html import to_html
from hetctl.bench.markdown import to_markdown
from hetctl.bench.results import Results
from hetctl.document import write_atomically

_RENDERERS = {"results.csv": to_csv, "results.md": to_markdown, "report.html": to_html}


def write_reports(results: Results, folder: Path) -> tuple[Path, ...]:
    """CSV, Markdown and HTML next to ``results.json``; gives their paths.

    Raises:
        HetctlError: a file cannot be written.
    """
    for name, render in _RENDERERS.items():
        write_atomically(folder / name, render(results))
    return tuple(folder / name for name in _RENDERERS)
