"""Checks that vLLM still has the shape that a patch relies on."""

import inspect
from collections.abc import Callable
from typing import Any


class UnsupportedContractError(RuntimeError):
    """vLLM changed under a patch."""


def require_parameters(function: Callable[..., Any], expected: tuple[str, ...]) -> None:
    """Raise unless ``function`` takes exactly the parameters ``expected``, in order.

    Raises:
        UnsupportedContractError: naming the function and both parameter lists.
    """
    found = tuple(inspect.signature(function).parameters)
    if found != expected:
        raise UnsupportedContractError(
            f"unsupported contract: {function.__module__}.{function.__qualname__} takes "
            f"{', '.join(found)}, but this plugin was written for {', '.join(expected)}"
        )
