"""How much a command says beside its results: --quiet and --verbose."""

from typing import Annotated, Any

import typer

from hetctl.errors import UsageError

ALL = ("quiet", "verbose")
_chosen: dict[str, bool] = {}


def choose(name: str, value: bool) -> None:
    """Make the choice for this process; a flag that is not given changes nothing.

    Raises:
        UsageError: both were chosen.
    """
    if not value:
        return
    _chosen[name] = True
    if len(_chosen) == len(ALL):
        raise UsageError("--quiet and --verbose contradict each other; leave one of them out.")
    if name == "quiet":
        from hetctl.cli.console import err

        err.quiet = True


def verbose() -> bool:
    """Whether to say how a result came about, and an error's whole traceback."""
    return _chosen.get("verbose", False)


def say_settings(ctx: Any, command: Any) -> None:
    """With --verbose: which options were not given on the command line, but from outside."""
    if not verbose():
        return
    from hetctl.cli.command import origin, settable
    from hetctl.cli.console import err

    for param in settable(command.get_params(ctx)):
        source = ctx.get_parameter_source(param.name)
        if source is not None and source.name in ("ENVIRONMENT", "DEFAULT_MAP"):
            err.print(origin(ctx, param), markup=False, soft_wrap=True)


def _on_quiet(ctx: typer.Context, value: bool) -> None:
    if not ctx.resilient_parsing:
        choose("quiet", value)


def _on_verbose(ctx: typer.Context, value: bool) -> None:
    if not ctx.resilient_parsing:
        choose("verbose", value)


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_on_quiet,
        expose_value=False,
        help="Say nothing but results, warnings and errors.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_on_verbose,
        expose_value=False,
        help="Say which settings are used, and the whole traceback of an error.",
    ),
]
