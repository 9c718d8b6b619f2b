"""``hetctl probe``: tell what this machine is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hetctl.machine import Machine


def probe(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the machine document, and nothing else.")
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Measure what plans depend on, in under 3 minutes, and keep it for this machine; "
            "--json prints the measurements.",
        ),
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write the machine document to FILE."),
    ] = None,
) -> None:
    """Tell what this machine is: GPUs, CPU sockets, NUMA nodes, memory and limits."""
    from hetctl.cli.console import err, out
    from hetctl.probe.machine import probe_machine

    machine = probe_machine()
    if calibrate:
        machine = _measured(machine, as_json)
    elif as_json:
        typer.echo(machine.to_json(), nl=False)
    else:
        from hetctl.cli.machine_view import render_machine
        from hetctl.profiles.measured import describe

        out.print(render_machine(machine, describe(machine)))
    if save is not None:
        machine.save(save)
        err.print(f"Saved to {save}", markup=False, soft_wrap=True)


def _measured(machine: "Machine", as_json: bool) -> "Machine":
    """Calibrate and show the outcome; the machine with its measured rates."""
    from hetctl.cli.calibrate import calibrate
    from hetctl.cli.console import out
    from hetctl.cli.profile_view import render_profile
    from hetctl.profiles.measured import with_measurements

    profile = calibrate(machine)
    if as_json:
        typer.echo(profile.to_json(), nl=False)
    else:
        out.print(render_profile(profile, machine))
    return with_measurements(machine)
