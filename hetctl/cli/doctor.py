"""``hetctl doctor``: is this machine ready?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.errors import EXIT_FAILURE, UsageError

if TYPE_CHECKING:
    from hetctl.doctor.check import Surroundings
    from hetctl.doctor.diagnosis import Diagnosis


def doctor(
    ctx: typer.Context,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Also start an engine of two ranks with the demo model: a minute."
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Start no ranks: two seconds instead of fifteen.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the diagnosis document, and nothing else.")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Write FILE.tar.gz for a bug report: the diagnosis, the machine, versions, "
            "settings, variables and the latest logs, without secrets.",
        ),
    ] = None,
) -> None:
    """Check that this machine can run GPU and CPU ranks, and say what to do where it cannot.

    Exit codes: 0 nothing failed (there may be warnings), 1 a check failed, 2 the command line is
    wrong.
    """
    from hetctl.cli.activity import activity
    from hetctl.cli.console import err, out
    from hetctl.cli.doctor_view import diagnosis_view
    from hetctl.cli.end_signals import EndSignals
    from hetctl.doctor.checks import diagnose
    from hetctl.launch.state import state_folder

    if full and quick:
        raise UsageError("--full and --quick contradict each other; leave one of them out.")
    if bundle is not None:
        from hetctl.doctor.bundle import check_bundle_name

        check_bundle_name(bundle)
    engine_log = state_folder() / "doctor-engine.log" if full else None
    signals = EndSignals()
    # Ends ranks and an engine in order, whoever asks for it.
    with signals.handled(), signals.waiting(), activity("looking at the machine") as say:
        surroundings = _surroundings()
        diagnosis = diagnose(surroundings, say, ranks=not quick, engine_log=engine_log)
    if as_json:
        typer.echo(diagnosis.to_json(), nl=False)
    else:
        out.print(diagnosis_view(diagnosis))
    if bundle is not None:
        names = _bundle(ctx, bundle, diagnosis, surroundings)
        err.print(f"Wrote {bundle}: {', '.join(names)}", markup=False, soft_wrap=True)
    if not diagnosis.healthy:
        raise typer.Exit(EXIT_FAILURE)


def _surroundings() -> "Surroundings":
    import os

    from hetctl.doctor.check import Surroundings
    from hetctl.probe.files import Files
    from hetctl.probe.machine import probe_machine

    return Surroundings(probe_machine(), Files(), dict(os.environ))


def _bundle(
    ctx: typer.Context, path: Path, diagnosis: "Diagnosis", surroundings: "Surroundings"
) -> tuple[str, ...]:
    from hetctl.cli.config import settings_document
    from hetctl.doctor.bundle import write_bundle
    from hetctl.launch.state import state_folder

    folders = [state_folder()]
    # Of benchmarks that ran here, the last one's logs.
    folders += sorted(Path.cwd().glob("hetctl-bench-*/logs"))[-1:]
    return write_bundle(
        path,
        diagnosis,
        surroundings.machine,
        settings_document(ctx),
        tuple(folders),
        surroundings.environment,
    )
