"""What a group of commands is made of, so that its help appears at once."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup, TyperOption

from hetctl.cli.command import Command, outside_values_named, with_variables

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])


class Group(TyperGroup):
    """A group whose own flags (help, completion) are off, not unset.

    typer leaves them None and imports pydantic to convert that, which is half of the time
    of ``hetctl plan --help``.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        params = super().get_params(ctx)
        for param in params:
            if isinstance(param, TyperOption) and param.is_bool_flag and param.default is None:
                param.default = False
        return with_variables(params, ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with outside_values_named(ctx):
            return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """Commands of hetctl: each takes settings from files and the environment."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(
        self, name: str | None = None, **settings: Any
    ) -> Callable[[CommandFunction], CommandFunction]:
        return super().command(name, cls=Command, **settings)
