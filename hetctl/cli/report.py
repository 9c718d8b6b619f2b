"""``hetctl report``: make the reports of a benchmark again, or of several together."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hetctl.errors import UsageError


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders that hetctl bench wrote."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder for the report of several [default: hetctl-report-TIME]."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="What joined results may differ in: hardware, versions, model."
        ),
    ] = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write results.parquet, too (needs pyarrow).")
    ] = False,
) -> None:
    """Make the reports again from results.json; of several folders, one report of all.

    The plan of the first folder is the one under test.
    """
    from hetctl.bench.compare import RESULTS_FILE
    from hetctl.bench.frame import require_pyarrow
    from hetctl.bench.gate.comparability import parse_aspects
    from hetctl.bench.join import Part, join
    from hetctl.bench.results import Results
    from hetctl.cli.bench import refuse_to_overwrite, show

    if parquet:
        require_pyarrow()
    allowed = parse_aspects(allow or ())
    parts = [Part(folder, Results.load(folder / RESULTS_FILE)) for folder in folders]
    for part in parts:
        if not part.results.runs:
            raise UsageError(
                f"{part.folder / RESULTS_FILE} holds no runs, so there is nothing to report."
            )
    if len(parts) == 1 and out is None:
        show(parts[0].results, folders[0], parquet)
        return
    folder = out or Path(f"hetctl-report-{datetime.now():%Y%m%d-%H%M%S}")
    refuse_to_overwrite(folder)
    results = join(parts, folder, allowed)
    results.save(folder / RESULTS_FILE)
    show(results, folder, parquet)
