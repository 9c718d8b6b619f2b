"""What every command has in common: settings from outside, and how much it says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from hetctl.cli import verbosity
from hetctl.config.option import variable_name
from hetctl.errors import UsageError

_META = "hetctl.settings"


class Command(TyperCommand):
    """A command whose options may be set by file and environment as well."""

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        # --quiet and --verbose are hetctl's own options and may follow the command's name.
        shared = [param for param in ctx.find_root().command.params if param.name in verbosity.ALL]
        params = [*params[:-1], *shared, *params[-1:]]
        return with_variables(params, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with outside_values_named(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        verbosity.say_settings(ctx, self)
        return super().invoke(ctx)


def option_name(param: TyperOption) -> str:
    """As on the command line, without dashes: ``max-model-len``."""
    return max(param.opts, key=len).lstrip("-")


def command_words(ctx: Any) -> tuple[str, ...]:
    """Which command a context is of: ``("kernels", "install")``."""
    words: list[str] = []
    while ctx.parent is not None:
        words.insert(0, ctx.info_name)
        ctx = ctx.parent
    return tuple(words)


def settable(params: list[Any]) -> list[TyperOption]:
    """The options that may be set from outside: not those that do something else instead of
    the command, such as --help and --install-completion."""
    return [
        param
        for param in params
        if isinstance(param, TyperOption)
        and not param.is_eager
        and (param.expose_value or param.name in verbosity.ALL)
    ]


def with_variables(params: list[Any], ctx: Any) -> list[Any]:
    """Name each option's environment variable after the option.

    click's own rule would take the name of the function's parameter: AS_JSON for --json.
    """
    for param in settable(params):
        param.envvar = variable_name((*command_words(ctx), option_name(param)))
        # In one place, the help of hetctl itself, instead of at each option.
        param.show_envvar = False
    return params


@contextmanager
def outside_values_named(ctx: Any) -> Iterator[None]:
    """Say of a bad value where it is from, unless it is from the command line.

    Raises:
        UsageError: naming the variable, or the file and its key.
    """
    try:
        yield
    except typer.BadParameter as error:
        param = error.param
        source = ctx.get_parameter_source(param.name) if isinstance(param, TyperOption) else None
        if source is None or source.name not in ("ENVIRONMENT", "DEFAULT_MAP"):
            raise
        raise UsageError(f"{origin(ctx, param)}: {error.message.rstrip('.')}.") from error


def origin(ctx: Any, param: Any) -> str:
    """Where an option's value is from, and the value itself unless it is secret."""
    from hetctl.config.settings import place
    from hetctl.redact import is_secret_name, masked

    name = option_name(param)
    # The file that holds a key is no secret.
    secret = is_secret_name(name) and not name.endswith("-file")
    if ctx.get_parameter_source(param.name).name == "ENVIRONMENT":
        value = os.environ[param.envvar]
        return f"{param.envvar}={masked(value) if secret else value}"
    setting = ctx.meta[_META].of(command_words(ctx), name)
    value = masked(str(setting.value)) if secret else repr(setting.value)
    return f"{setting.file}: {place(command_words(ctx))}{name} = {value}"


def load_settings(ctx: Any) -> None:
    """Read the settings files, once, into the defaults of hetctl's commands.

    Raises:
        UsageError: a file is wrong.
    """
    from hetctl.config.files import current_folder, settings_files
    from hetctl.config.settings import Settings

    files = settings_files(current_folder(), os.environ)
    settings = Settings()
    if files:
        from hetctl.cli.catalogue import catalogue_of
        from hetctl.config.settings import read_settings

        settings = read_settings(files, catalogue_of(ctx))
    ctx.meta[_META] = settings
    ctx.default_map = settings.default_map()
    for name in verbosity.ALL:
        # hetctl's own options are parsed already; a file is weaker than what was found there.
        if ctx.get_parameter_source(name).name == "DEFAULT" and (found := settings.of((), name)):
            verbosity.choose(name, found.value)


def settings_of(ctx: Any) -> Any:
    """The :class:`~hetctl.config.settings.Settings` that hold for this command."""
    return ctx.meta[_META]
