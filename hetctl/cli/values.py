"""The value of every option outside of a command line, as click itself finds it."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from hetctl.cli.catalogue import catalogue_of
from hetctl.cli.command import option_name, origin, settable, settings_of
from hetctl.redact import is_secret_name, masked


@dataclass(frozen=True)
class Value:
    """One option's value, and where it is from."""

    command: tuple[str, ...]
    name: str
    value: Any
    source: str
    """``default``, the name of an environment variable, or the path of a file."""
    problem: str | None = None
    """Why the command would refuse the value."""

    @property
    def key(self) -> str:
        """``serve.port``: as the tables and keys of a file."""
        return ".".join((*self.command, self.name))

    @property
    def shown(self) -> str:
        """The value as a file would have it."""
        import json

        return "not set" if self.value is None else json.dumps(_plain(self.value))

    def as_json(self) -> dict[str, Any]:
        return {"option": self.key, "value": _plain(self.value), "source": self.source}


def all_values(ctx: Any) -> list[Value]:
    """Of every command, in the order of ``hetctl --help``."""
    root = ctx.find_root()
    return [*_values(root.command, root), *_below(root.command, root)]


def _below(group: Any, ctx: Any) -> Iterator[Value]:
    for name, command in group.commands.items():
        # Resilient: arguments that are missing, and flags that would act, are not looked at.
        own = command.make_context(name, [], parent=ctx, resilient_parsing=True)
        yield from _values(command, own)
        if hasattr(command, "commands"):
            yield from _below(command, own)


def _values(command: Any, ctx: Any) -> Iterator[Value]:
    from hetctl.cli.command import command_words

    words = command_words(ctx)
    for param in settable(command.get_params(ctx)):
        name = option_name(param)
        value, source = param.consume_value(ctx, {})
        ctx.set_parameter_source(param.name, source)
        where = _where(ctx, param, words, name)
        problem = None
        try:
            value = param.process_value(ctx, value) if where != "default" else value
        except typer.BadParameter as error:
            problem = f"{origin(ctx, param)}: {error.message.rstrip('.')}."
        if is_secret_name(name) and not name.endswith("-file") and value is not None:
            value = masked(str(value))
        yield Value(words, name, value, where, problem)


def _where(ctx: Any, param: Any, words: tuple[str, ...], name: str) -> str:
    if os.environ.get(param.envvar):
        return str(param.envvar)
    found = settings_of(ctx).of(words, name)
    return str(found.file) if found else "default"


def _plain(value: Any) -> Any:
    """As JSON has it: paths and choices are text."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def unknown_variables(ctx: Any, environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that begin as hetctl's do and set nothing, each with the nearest that does."""
    from difflib import get_close_matches

    known = {option.variable for option in catalogue_of(ctx).options}
    return {
        name: next(iter(get_close_matches(name, known, n=1)), "")
        for name in sorted(environment)
        if name.startswith("HETCTL_") and name not in known
    }
