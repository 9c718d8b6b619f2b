"""The command-line reference: one page for each command, from the commands themselves."""

import enum
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

from hetctl.cli.app import app
from hetctl.cli.command import command_words, option_name, settable
from hetctl.cli.group import Group
from hetctl.config.option import variable_name

FOLDER = "reference/commands"

_VALUES = {str: "TEXT", Path: "PATH", int: "N", float: "NUMBER"}
"""What stands for an option's value that has no name of its own."""

_INTRODUCTION = """\
# Commands

| command | |
| --- | --- |
{commands}

Every option can also be set by a variable or in `hetctl.toml`; both names stand below each
option, and [configuration](../../configuration.md) says which of several values holds. What each
command answers with is on the page of [exit codes](../../exit-codes.md).

## Options of hetctl itself {{ #hetctl-options }}

{options}
"""


def pages() -> dict[str, str]:
    """Markdown by path: the index first, then the commands as ``hetctl --help`` lists them."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("hetctl", [], resilient_parsing=True)
    commands = {
        name: command.make_context(name, [], parent=context, resilient_parsing=True)
        for name, command in root.commands.items()
    }
    rows = (f"| [`hetctl {name}`]({name}.md) | {_summary(own)} |" for name, own in commands.items())
    introduction = _INTRODUCTION.format(
        commands="\n".join(rows), options="\n".join(_options(context, root.params, "hetctl"))
    )
    return {
        f"{FOLDER}/index.md": introduction,
        **{f"{FOLDER}/{name}.md": "\n".join(_page(own)) for name, own in commands.items()},
    }


def _summary(context: Any) -> str:
    return prose(context.command.get_short_help_str(200))


def _page(context: Any) -> Iterator[str]:
    yield from _command(context, level=1)
    if isinstance(context.command, Group):
        for name, command in context.command.commands.items():
            own = command.make_context(name, [], parent=context, resilient_parsing=True)
            yield from _command(own, level=2)


def _command(context: Any, level: int) -> Iterator[str]:
    words = " ".join(("hetctl", *command_words(context)))
    command = context.command
    yield f"{'#' * level} {words}\n"
    yield from (f"{prose(' '.join(part.split()))}\n" for part in (command.help or "").split("\n\n"))
    yield f"```text\n{usage(context)}\n```\n"
    if isinstance(command, Group):
        return
    arguments = [
        param for param in command.get_params(context) if param.param_type_name != "option"
    ]
    if arguments:
        yield f"{'#' * (level + 1)} Arguments\n"
        for argument in arguments:
            yield _entry(f"`{argument.metavar}`", prose(argument.help or ""))
    yield from _panels(context, level + 1)
    yield "It also takes the [options of hetctl itself](index.md#hetctl-options).\n"
    if "Exit codes:" not in (command.help or ""):
        yield (
            "Its exit code is 0 when it is done, 1 when something failed and 2 when the command "
            "line, a variable or an input file is wrong ([exit codes](../../exit-codes.md)).\n"
        )


def usage(context: Any) -> str:
    """As ``--help`` begins, in one line."""
    return re.sub(r"\s+", " ", context.command.get_usage(context)).removeprefix("Usage: ")


def _panels(context: Any, level: int) -> Iterator[str]:
    """The command's own options under the headings of their panels, those without one first."""
    by_panel: dict[str, list[Any]] = {}
    for param in context.command.params:
        if param.param_type_name == "option" and not param.hidden:
            by_panel.setdefault(param.rich_help_panel or "Options", []).append(param)
    prefix = "-".join(command_words(context))
    for panel in sorted(by_panel, key=lambda name: name != "Options"):
        params = by_panel[panel]
        yield f"{'#' * level} {panel} {{ #{prefix}-{panel.lower()} }}\n"
        yield from _options(context, params, prefix)


def _options(context: Any, params: list[Any], prefix: str) -> Iterator[str]:
    from_outside = settable(params)
    for param in params:
        names = f"`{_names(param)}`"
        text = [prose(param.help or ""), *([_limits(param)] if _limits(param) else [])]
        settings = [_settings(context, param)] if param in from_outside else []
        yield _entry(f"{names} {{ #{prefix}-{option_name(param)} }}", " ".join(text), *settings)


def _names(param: Any) -> str:
    names = ", ".join(param.opts)
    if param.secondary_opts:
        return f"{names} / {', '.join(param.secondary_opts)}"
    return names if param.is_flag else f"{names} {_value(param)}"


def _value(param: Any) -> str:
    if param.metavar:
        return str(param.metavar)
    kind = param.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(one.value) for one in kind)
    (kind, *_) = get_args(kind) or (kind,)
    return _VALUES.get(kind, "VALUE")


def _limits(param: Any) -> str:
    """The default and the range, where the help text does not tell a default itself."""
    low, high = getattr(param, "min", None), getattr(param, "max", None)
    parts = []
    default = param.default.value if isinstance(param.default, enum.Enum) else param.default
    if default not in (None, False, (), []) and "default:" not in (param.help or ""):
        shown = param.opts[0] if default is True else default
        parts.append(f"Default: `{shown}`.")
    if low is not None and high is not None:
        parts.append(f"From {low:g} to {high:g}.")
    elif low is not None:
        parts.append(f"At least {low:g}.")
    if param.multiple and "several times" not in (param.help or ""):
        parts.append("May be given several times.")
    return " ".join(parts)


def _settings(context: Any, param: Any) -> str:
    words = command_words(context)
    table = f"`[{'.'.join(words)}]` " if words else ""
    name = option_name(param)
    return f"`{variable_name((*words, name))}` · {table}`{name}`\n    {{ .setting }}"


def _entry(term: str, *paragraphs: str) -> str:
    """An entry of a definition list."""
    first, *rest = paragraphs
    lines = [term, f":   {first}", *(f"\n    {paragraph}" for paragraph in rest)]
    return "\n".join(lines) + "\n"


def prose(text: str) -> str:
    """Help as Markdown: what stands in backquotes stays, the rest holds no markup."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
