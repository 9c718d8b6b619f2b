"""Patch: ``/v1/messages`` answers a wrong value with 400, as vLLM's other routes do.

What: ``AnthropicServingMessages.create_messages`` and ``count_tokens`` return the errors that
values of the request cause, as ``create_error_response`` tells them from the server's.
Why: their routes take every exception for one of the server and answer 500: a temperature of 3, or
a chat template that does not fit its arguments.
Removable when: vLLM's Anthropic routes pass exceptions through ``create_error_response``.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from vllm.entrypoints.anthropic.serving import AnthropicServingMessages

from vllm_hetero.patches.contract import require_parameters

_METHODS = ("create_messages", "count_tokens")
# What create_error_response calls the client's.
_OF_THE_CLIENT = (ValueError, TypeError, OverflowError)


def apply() -> None:
    """Replace the methods; does nothing the second time."""
    for name in _METHODS:
        original = getattr(AnthropicServingMessages, name)
        if hasattr(original, "__wrapped__"):
            continue
        require_parameters(original, ("self", "request", "raw_request"))
        setattr(AnthropicServingMessages, name, _with_errors_told_apart(original))


def _with_errors_told_apart(method: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @wraps(method)
    async def answered(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await method(self, *args, **kwargs)
        except _OF_THE_CLIENT as error:
            return self.create_error_response(error)

    return answered
