"""``hetctl report``: make the reports of a benchmark again."""

from pathlib import Path
from typing import Annotated

import typer

from hetctl.errors import UsageError


def report(
    folder: Annotated[Path, typer.Argument(help="Folder that hetctl bench wrote.")],
) -> None:
    """Make results.csv, results.md and report.html from results.json again."""
    from hetctl.bench.compare import RESULTS_FILE
    from hetctl.bench.results import Results
    from hetctl.cli.bench import show

    results = Results.load(folder / RESULTS_FILE)
    if not results.runs:
        raise UsageError(f"{folder / RESULTS_FILE} holds no runs, so there is nothing to report.")
    show(results, folder)
