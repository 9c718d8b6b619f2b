"""``hetctl model``: the demo model."""

from pathlib import Path
from typing import Annotated

import typer

from hetctl.cli.group import Commands

app = Commands(name="model", help="Write the demo model.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    # Without it, typer makes a single subcommand the command itself.
    pass


@app.command()
def tiny(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that holds something else.")
    ] = False,
) -> None:
    """Write a Llama of 3.3 million parameters, to try hetctl without a download."""
    from hetctl.cli.console import out
    from hetctl.model.tiny import write_tiny

    written = write_tiny(folder, force)
    out.print(f"The demo model {'is in' if written else 'was already in'} {folder}", soft_wrap=True)
