"""``hetctl config``: what is set, and where."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetctl.errors import UsageError

if TYPE_CHECKING:
    from hetctl.cli.values import Value
    from hetctl.config.settings import Settings


def config(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]", help="Show every option of it, defaults included."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every option of every command as JSON.")
    ] = False,
) -> None:
    """Show what is set outside of the command line, and where.

    An option's value is that of the command line, else of its variable (HETCTL_SERVE_PORT), else
    of hetctl.toml in the working directory or above it up to the folder with .git, else of
    ~/.config/hetctl/hetctl.toml, else its default.
    """
    from hetctl.cli.command import settings_of
    from hetctl.cli.values import all_values, unknown_variables

    words = tuple(command or ())
    values = [value for value in all_values(ctx) if value.command[: len(words)] == words]
    if not values:
        raise UsageError(f"hetctl has no command {' '.join(words)!r}; see `hetctl --help`.")
    settings = settings_of(ctx)
    unknown = unknown_variables(ctx, os.environ)
    if as_json:
        typer.echo(_document(settings, values, unknown))
    else:
        shown = values if words else [value for value in values if value.source != "default"]
        _render(settings, shown, bool(words))
    _warn(unknown)
    if problems := [value.problem for value in values if value.problem]:
        raise UsageError(problems[0])


def settings_document(ctx: Any) -> str:
    """Every option of every command, as ``hetctl config --json`` prints it."""
    from hetctl.cli.command import settings_of
    from hetctl.cli.values import all_values, unknown_variables

    return _document(settings_of(ctx), all_values(ctx), unknown_variables(ctx, os.environ))


def _document(settings: "Settings", values: "list[Value]", unknown: dict[str, str]) -> str:
    import json

    document: dict[str, Any] = {
        "kind": "hetctl.config",
        "schema_version": 1,
        "files": [str(file) for file in settings.files],
        "unknown_variables": sorted(unknown),
        "options": [value.as_json() for value in values],
    }
    return json.dumps(document, indent=2)


def _render(settings: "Settings", values: "list[Value]", everything: bool) -> None:
    """Plain lines, not a table: neither a path nor a value must be cut to a width."""
    if not everything:
        files = [str(file) for file in settings.files] or ["none"]
        typer.echo(f"settings files: {', '.join(files)}")
        if not values:
            typer.echo("nothing is set; `hetctl config COMMAND` shows the defaults of a command")
    width = max((len(value.key) for value in values), default=0)
    for value in values:
        typer.echo(f"{value.key:<{width}}  {value.shown}  ({value.source})")


def _warn(unknown: dict[str, str]) -> None:
    from hetctl.cli.console import warn

    for name, nearest in unknown.items():
        hint = f"; did you mean {nearest}?" if nearest else "."
        warn(f"the variable {name} sets no option of hetctl{hint}")
