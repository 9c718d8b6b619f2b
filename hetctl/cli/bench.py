"""``hetctl bench``: measure a plan, and what it must beat, under one load."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.errors import EXIT_INTERRUPTED, HetctlError, UsageError

if TYPE_CHECKING:
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Configuration, Load, Results, Skipped
    from hetctl.bench.server import ServerFactory
    from hetctl.machine import Machine

_PROMPTS_PER_SLOT = 4
"""Default number of prompts for each concurrent request: enough turns to reach a steady
state, few enough for a CPU rank to finish."""


@dataclass(frozen=True)
class Prepared:
    """What is to be measured, and how it is started."""

    machine: "Machine"
    configurations: "tuple[Configuration, ...]"
    skipped: "tuple[Skipped, ...]"
    server_factory: "ServerFactory"


def bench(
    model: Annotated[str, typer.Argument(help="Model folder or hub id.")],
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure the baselines that can run here, too.")
    ] = False,
    input_len: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 512,
    output_len: Annotated[int, typer.Option(min=1, help="Tokens generated per request.")] = 128,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight at most.")] = 8,
    num_prompts: Annotated[
        int | None,
        typer.Option(min=1, help=f"Requests per run [default: {_PROMPTS_PER_SLOT}x concurrency]."),
    ] = None,
    request_rate: Annotated[
        float | None,
        typer.Option(help="Requests per second; without it, as fast as they are answered."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each configuration.")] = 1,
    warmups: Annotated[int, typer.Option(min=0, help="Requests before the clock starts.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random prompts.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results [default: hetctl-bench-TIME].")
    ] = None,
    ready_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a server may take to start.")
    ] = 1800,
    load_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that one load may take.")
    ] = 7200,
) -> None:
    """Measure a model as hetctl plans it; with --compare, against the baselines."""
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Load

    if request_rate is not None and not 0 < request_rate < float("inf"):
        raise UsageError(f"--request-rate must be a positive number, not {request_rate:g}.")
    load = Load(
        input_len=input_len,
        output_len=output_len,
        num_prompts=num_prompts or _PROMPTS_PER_SLOT * concurrency,
        max_concurrency=concurrency,
        request_rate=request_rate,
        seed=seed,
        num_warmups=warmups,
    )
    folder = out or Path(f"hetctl-bench-{datetime.now():%Y%m%d-%H%M%S}")
    refuse_to_overwrite(folder)
    prepared = _prepare(model, load, compare)
    measure(model, load, prepared, repeats, folder, TimeLimits(ready_timeout, load_timeout))


def _prepare(model: str, load: "Load", compare: bool) -> Prepared:
    """Plan the model and its baselines for this load."""
    raise HetctlError(
        f"Cannot benchmark {model}: this build of hetctl bench is not connected to the planner."
    )


def refuse_to_overwrite(folder: Path) -> None:
    """Raise UsageError if the folder holds results: hours of measurement are not replaced."""
    from hetctl.bench.compare import RESULTS_FILE

    if (folder / RESULTS_FILE).exists():
        raise UsageError(f"{folder} already holds results; choose another folder with --out.")


def measure(
    model: str,
    load: "Load",
    prepared: Prepared,
    repeats: int,
    folder: Path,
    limits: "TimeLimits",
) -> None:
    """Run the comparison, write the reports and show the outcome.

    Raises:
        HetctlError: nothing could be measured.
        typer.Exit: with 130, when interrupted.
    """
    from hetctl.bench.compare import compare
    from hetctl.bench.environment import describe_environment
    from hetctl.bench.results import Results
    from hetctl.cli.bench_progress import BenchProgress
    from hetctl.cli.console import err

    blank = Results(
        model=model,
        environment=describe_environment(prepared.machine, Path.cwd()),
        offered_load=load,
        repeats=repeats,
        configurations=prepared.configurations,
        skipped=prepared.skipped,
    )
    with _sigterm_as_interrupt(), BenchProgress(blank, err) as progress:
        results = compare(blank, folder, prepared.server_factory, progress, limits)
    if results.runs:
        show(results, folder)
    if results.interrupted:
        if not results.runs:
            err.print("Interrupted before the first run ended; nothing was measured.")
        raise typer.Exit(EXIT_INTERRUPTED)


def show(results: "Results", folder: Path) -> None:
    """Write the reports into the folder and print the comparison."""
    from hetctl.bench.report import write_reports
    from hetctl.bench.table import comparison_report
    from hetctl.cli.console import err, out

    paths = write_reports(results, folder)
    out.print(comparison_report(results, out))
    err.print("Wrote " + ", ".join(map(str, paths)), markup=False, soft_wrap=True)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let a CI job that is cancelled end like Ctrl-C: servers stopped, results kept."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
