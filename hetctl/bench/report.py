"""Writes every report that is made from the results."""

from pathlib import Path

from hetctl.bench.csv import to_csv
from hetctl.bench.frame import to_parquet
from hetctl.bench.html.page import to_html
from hetctl.bench.markdown import to_markdown
from hetctl.bench.results import Results
from hetctl.document import write_atomically


def write_reports(results: Results, folder: Path, parquet: bool = False) -> tuple[Path, ...]:
    """CSV, Markdown and HTML next to ``results.json``, and Parquet if asked; gives their paths.

    Raises:
        HetctlError: a file cannot be written.
        UsageError: Parquet needs a package that is not installed.
    """
    files: dict[str, str | bytes] = {
        "results.csv": to_csv(results),
        "results.md": to_markdown(results),
        "report.html": to_html(results, folder),
    }
    if parquet:
        files["results.parquet"] = to_parquet(results)
    for name, content in files.items():
        write_atomically(folder / name, content)
    return tuple(folder / name for name in files)
