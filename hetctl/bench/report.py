"""Writes every report that is made from the results."""

from pathlib import Path

from hetctl.bench.csv import to_csv
from hetctl.bench.html.page import to_html
from hetctl.bench.markdown import to_markdown
from hetctl.bench.results import Results
from hetctl.bench.saturation import busiest_point
from hetctl.document import write_atomically


def write_reports(results: Results, folder: Path) -> tuple[Path, ...]:
    """CSV, Markdown and HTML next to ``results.json``; gives their paths.

    Raises:
        HetctlError: a file cannot be written.
    """
    write_atomically(folder / "results.csv", to_csv(results))
    # These compare configurations under one load; of a sweep, where it reached its most.
    at_one = results.at(busiest_point(results))
    write_atomically(folder / "results.md", to_markdown(at_one))
    write_atomically(folder / "report.html", to_html(results, folder))
    return tuple(folder / name for name in ("results.csv", "results.md", "report.html"))
