"""What a group of commands is made of, so that its help appears at once."""

from typing import Any

from typer.core import TyperGroup, TyperOption


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
        return params
