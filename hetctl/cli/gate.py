"""``hetctl gate``: did this commit make it slower?"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.errors import (
    EXIT_NOT_ENOUGH_EVIDENCE,
    EXIT_REGRESSION,
    HetctlError,
    UsageError,
)

if TYPE_CHECKING:
    from hetctl.bench.gate.comparability import Measured
    from hetctl.bench.gate.decision import Verdict
    from hetctl.bench.gate.report import GateReport
    from hetctl.bench.gate.thresholds import Threshold
    from hetctl.bench.metrics import Metric
    from hetctl.bench.results import Load

_EXIT_CODES: "dict[Verdict, int]" = {
    "ok": 0,
    "improvement": 0,
    "regression": EXIT_REGRESSION,
    "not enough evidence": EXIT_NOT_ENOUGH_EVIDENCE,
}


def gate(
    results: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[BASE] [CURRENT]",
            help="Folders that hetctl bench wrote; with --history, CURRENT alone or none.",
            show_default=False,
        ),
    ] = None,
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail",
            metavar="METRIC<RATIO",
            help="A threshold, CURRENT over BASE: output_throughput<0.95 or p99_ttft>1.10; may be "
            "given several times.",
        ),
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", help='TOML file with fail = ["output_throughput<0.95"].'),
    ] = None,
    configuration: Annotated[
        str | None,
        typer.Option("--configuration", help="What to compare [default: the plan under test]."),
    ] = None,
    point: Annotated[
        str | None,
        typer.Option("--point", help="Which load of a sweep to compare, such as c8 or r2."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            help="What may differ: hardware, versions, model, workload, seed, tokens, failures; "
            "disturbed: runs under foreign load or throttling count, however many they are.",
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", help="Folder: add CURRENT, plot all commits, find changes."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the report as Markdown.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write the report as JUnit XML.")
    ] = None,
) -> None:
    """Compare two measurements of one workload and fail on a regression.

    Without --fail or --thresholds: output_throughput<0.95, p50_ttft>1.10, p50_tpot>1.05. Each
    metric gets the ratio of its medians over runs, and bootstrap intervals of it.

    regression: the ratio is beyond the threshold and its 99% interval leaves out 1.
    improvement: the same on the other side. ok: the 90% interval ends before the threshold.
    Otherwise, with fewer than 5 runs on a side, or with more than one in 5 disturbed: not enough
    evidence.

    Exit codes: 0 ok or improvement, 1 regression, 2 refused or bad input, 3 not enough
    evidence. In GitHub Actions, annotations and the job's summary are written, too.
    """
    from hetctl.bench.gate.github import is_github, refusal

    try:
        code = _gate(
            results or [],
            fail or [],
            thresholds,
            _Choice(configuration, point),
            allow or [],
            history,
            _Outputs(json, markdown, junit),
        )
    except HetctlError as error:
        if is_github(os.environ):
            typer.echo(refusal(str(error)))
        # Exit code 1 is a regression here; a disk that is full must not look like one.
        raise UsageError(str(error)) from error
    raise typer.Exit(code)


@dataclass(frozen=True)
class _Choice:
    """What of the results to compare."""

    configuration: str | None
    point: str | None


@dataclass(frozen=True)
class _Outputs:
    """The files that the report is written to."""

    json: Path | None
    markdown: Path | None
    junit: Path | None

    @property
    def asked_for(self) -> bool:
        return any((self.json, self.markdown, self.junit))

    def write(self, report: "GateReport") -> None:
        from hetctl.bench.gate.junit import to_junit
        from hetctl.bench.gate.markdown import to_markdown
        from hetctl.document import write_atomically

        if self.json:
            report.save(self.json)
        if self.markdown:
            write_atomically(self.markdown, to_markdown(report))
        if self.junit:
            write_atomically(self.junit, to_junit(report))


def _gate(
    folders: list[Path],
    fail: list[str],
    threshold_file: Path | None,
    choice: "_Choice",
    allow: list[str],
    history: Path | None,
    outputs: _Outputs,
) -> int:
    """Do what the options ask; gives the exit code."""
    from hetctl.bench.gate.comparability import parse_aspects
    from hetctl.bench.gate.gate import gate as compare
    from hetctl.bench.gate.thresholds import default_thresholds

    _check_folders(folders, history, outputs)
    aspects = parse_aspects(allow)
    thresholds = _thresholds(fail, threshold_file)
    measured = [_measured(folder, choice) for folder in folders]
    code = 0
    if len(measured) == 2:
        base, current = measured
        used = thresholds or default_thresholds(current.results.offered_load)
        sources = (str(folders[0]), str(folders[1]))
        report = compare(base, current, used, sources=sources, allowed=aspects)
        outputs.write(report)
        _show(report)
        code = _EXIT_CODES[report.verdict]
    if history is not None:
        _remember(history, measured[-1] if measured else None, thresholds)
    return code


def _check_folders(folders: list[Path], history: Path | None, outputs: _Outputs) -> None:
    if len(folders) > 2:
        raise UsageError(f"hetctl gate compares two folders, BASE and CURRENT, not {len(folders)}.")
    if len(folders) < 2 and history is None:
        raise UsageError(
            "hetctl gate needs two folders that hetctl bench wrote, BASE and CURRENT, or "
            "--history DIR."
        )
    if len(folders) < 2 and outputs.asked_for:
        raise UsageError(
            "--json, --markdown and --junit report a comparison, which needs BASE and CURRENT."
        )


def _thresholds(fail: list[str], threshold_file: Path | None) -> "tuple[Threshold, ...]":
    """Those asked for on the command line and in the file; none means the defaults."""
    from hetctl.bench.gate.thresholds import parse_thresholds, read_threshold_file

    from_file = read_threshold_file(threshold_file) if threshold_file else ()
    return parse_thresholds((*fail, *from_file))


def _measured(folder: Path, choice: "_Choice") -> "Measured":
    from hetctl.bench.compare import RESULTS_FILE
    from hetctl.bench.gate.gate import choose_configuration, choose_point
    from hetctl.bench.results import Results

    path = folder / RESULTS_FILE if folder.is_dir() else folder
    results = choose_point(Results.load(path), choice.point, str(folder))
    return choose_configuration(results, choice.configuration, str(folder))


def _show(report: "GateReport") -> None:
    """Print the report and, in GitHub Actions, tell it to the job."""
    from hetctl.bench.gate.github import annotations, append_summary, is_github
    from hetctl.bench.gate.table import gate_view
    from hetctl.cli.console import out

    out.print(gate_view(report, out))
    if is_github(os.environ):
        for line in annotations(report):
            typer.echo(line)
    append_summary(report, os.environ)


def _remember(
    folder: Path, measured: "Measured | None", thresholds: "tuple[Threshold, ...]"
) -> None:
    """Add a measurement to the history, then show and plot all of it."""
    from hetctl.bench.gate import history
    from hetctl.bench.gate.history_plot import history_png
    from hetctl.bench.gate.history_view import history_view
    from hetctl.bench.gate.series import series_of
    from hetctl.cli.console import err, out, warn
    from hetctl.document import write_atomically

    if measured is not None:
        history.append(folder, history.entry_of(measured))
    found = history.read(folder)
    for problem in found.unreadable:
        warn(problem)
    if not found.entries:
        raise UsageError(f"{folder} holds no history yet; give the results to add to it.")
    for series in series_of(found.entries):
        metrics = _metrics(thresholds, series.load)
        if (shown := series.having(metrics)).points:
            out.print(history_view(shown, metrics))
            picture = folder / f"{series.name}.png"
            write_atomically(picture, history_png(shown, metrics))
            err.print(f"Wrote {picture}", markup=False, soft_wrap=True)


def _metrics(thresholds: "tuple[Threshold, ...]", load: "Load") -> "list[Metric]":
    from hetctl.bench.gate.thresholds import default_thresholds

    return [one.metric for one in thresholds or default_thresholds(load)]
