"""``hetctl probe``: tell what this machine is."""

from pathlib import Path
from typing import Annotated

import typer


def probe(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the machine document, and nothing else.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Write the machine document to FILE."),
    ] = None,
) -> None:
    """Tell what this machine is: GPUs, CPU sockets, NUMA nodes, memory and limits."""
    from hetctl.cli.console import err, out
    from hetctl.cli.machine_view import render_machine
    from hetctl.probe.machine import probe_machine

    machine = probe_machine()
    if as_json:
        typer.echo(machine.to_json(), nl=False)
    else:
        out.print(render_machine(machine))
    if save is not None:
        machine.save(save)
        err.print(f"Saved to {save}", markup=False, soft_wrap=True)
