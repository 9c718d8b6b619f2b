"""The options of the command tree, as settings files may name them."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperOption

from hetctl.cli.command import option_name, settable
from hetctl.config.option import Catalogue, Option


def catalogue_of(ctx: Any) -> Catalogue:
    """All commands and options of the program that runs."""
    root = ctx.find_root().command
    shared = settable(root.params)
    commands = dict(_commands(root, ()))
    options = [_option((), param) for param in shared]
    for words, command in commands.items():
        own = settable(command.params)
        if not hasattr(command, "commands"):
            own += shared
        options += [_option(words, param) for param in own]
    return Catalogue(frozenset(commands), tuple(options))


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        words = (*above, name)
        yield words, command
        if hasattr(command, "commands"):
            yield from _commands(command, words)


def _option(command: tuple[str, ...], param: TyperOption) -> Option:
    annotation: Any = param.type_descriptor.annotation
    if param.multiple:
        (annotation,) = annotation.__args__
    kind = annotation if annotation in (bool, int, float) else str
    return Option(command, option_name(param), param.name, kind, param.multiple)
