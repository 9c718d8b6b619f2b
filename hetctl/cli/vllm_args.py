"""MODEL and, after ``--``, arguments for ``vllm serve``: the same for serve and bench."""

from pathlib import Path
from typing import Annotated

import typer

from hetctl.errors import UsageError

ModelAndVllmArgs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL [-- VLLM_ARGS...]",
        help="Model folder or hub id. Everything after -- goes to `vllm serve`.",
    ),
]


def model_and_vllm_args(
    arguments: list[str] | None, plan_file: Path | None = None
) -> tuple[str, list[str]]:
    """Split what the shell gave into MODEL and what came after ``--``.

    The shell's ``--`` itself does not arrive here. With a plan file there is no MODEL.

    Raises:
        UsageError: no model, two models, or an argument that belongs after ``--``.
    """
    arguments = arguments or []
    has_model = bool(arguments) and not arguments[0].startswith("-")
    if has_model and plan_file is not None:
        raise UsageError(
            f"Give MODEL or --plan, not both: {plan_file} names its model, {arguments[0]!r} is one "
            "too many."
        )
    if not has_model and plan_file is None:
        raise UsageError("Which model? Give a folder or hub id, or --plan FILE.")
    rest = arguments[1:] if has_model else arguments
    if rest and not rest[0].startswith("-"):
        raise UsageError(f"Unexpected argument {rest[0]!r}; vLLM's own arguments go after --.")
    return (arguments[0] if has_model else ""), rest
