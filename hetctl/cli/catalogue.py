"""The options of the command tree, as settings files may name them."""

from collections.abc import Iterator
from inspect import unwrap
from typing import Any, get_args, get_type_hints

from typer.core import TyperOption

from hetctl.cli.command import option_name, settable
from hetctl.config.option import Catalogue, Option


def catalogue_of(ctx: Any) -> Catalogue:
    """All commands and options of the program that runs."""
    root = ctx.find_root().command
    shared = settable(root.params)
    commands = dict(_commands(root, ()))
    options = [_option((), param, bool) for param in shared]
    for words, command in commands.items():
        hints = get_type_hints(unwrap(command.callback)) if command.callback else {}
        options += [_option(words, param, hints[param.name]) for param in settable(command.params)]
        if not hasattr(command, "commands"):
            options += [_option(words, param, bool) for param in shared]
    return Catalogue(frozenset(commands), tuple(options))


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        words = (*above, name)
        yield words, command
        if hasattr(command, "commands"):
            yield from _commands(command, words)


def _option(command: tuple[str, ...], param: TyperOption, annotation: Any) -> Option:
    kind = next((kind for kind in (bool, int, float) if kind in _types(annotation)), str)
    return Option(command, option_name(param), param.name, kind, param.multiple)


def _types(annotation: Any) -> Iterator[Any]:
    """What an annotation is made of: ``list[int] | None`` of None, a list and int."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
