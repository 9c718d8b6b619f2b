"""The ``hetctl`` command and its one error boundary."""

import atexit
import gc
import sys
from typing import Annotated

import typer

from hetctl import __version__
from hetctl.cli import kernels, model, verbosity
from hetctl.cli.bench import bench
from hetctl.cli.command import load_settings
from hetctl.cli.config import config
from hetctl.cli.doctor import doctor
from hetctl.cli.gate import gate
from hetctl.cli.group import Commands
from hetctl.cli.plan import plan
from hetctl.cli.probe import probe
from hetctl.cli.report import report
from hetctl.cli.serve import serve
from hetctl.cli.top import top
from hetctl.errors import EXIT_INTERRUPTED, HetctlError

app = Commands(
    name="hetctl",
    help="Plan, launch and benchmark one vLLM engine over GPU and CPU ranks.",
    epilog="Every option can also be set by a variable (HETCTL_SERVE_PORT=8001) or in "
    "hetctl.toml ([serve] port = 8001); `hetctl config` shows what holds, and why.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: drawing boxes would import rich's Markdown and syntax highlighting, half of
    # the time that `hetctl --help` takes.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hetctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    quiet: verbosity.Quiet = False,
    verbose: verbosity.Verbose = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    load_settings(ctx)


app.command(short_help="Tell what this machine is.")(probe)
app.command(short_help="Check that this machine is ready.")(doctor)
app.command(short_help="Find the fastest split of a model.")(plan)
app.command(short_help="Run a plan as a server.")(serve)
app.command(short_help="Show what a running server does.")(top)
app.command(short_help="Measure a plan against its baselines.")(bench)
app.command(short_help="Rebuild the reports of a measurement.")(report)
app.command(short_help="Fail when a change made it slower.")(gate)
app.command(short_help="Show every setting and where it is from.")(config)
app.add_typer(model.app)
app.add_typer(kernels.app)


def main() -> None:
    """Entry point: expected errors print one sentence; bugs keep their traceback."""
    # Imports make many objects and no garbage: Python's 700 would look for it 80 times.
    gc.set_threshold(50_000)
    # At the end it would search all of them once more, for 35 ms.
    atexit.register(gc.freeze)
    try:
        app()
    except HetctlError as error:
        from hetctl.cli.console import err

        err.quiet = False
        if verbosity.verbose():
            err.print(_traceback(error), markup=False, soft_wrap=True)
        err.print(f"[bold red]error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _traceback(error: BaseException) -> str:
    from traceback import format_exception

    return "".join(format_exception(error))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
