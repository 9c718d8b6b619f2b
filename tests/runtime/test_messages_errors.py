"""``/v1/messages`` tells the client's errors from the server's."""

import asyncio
from typing import Any

import pytest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages

from vllm_hetero.patches import messages_errors


class Serving:
    """Converts no request, and says which error it was given to answer."""

    _merge_inline_system = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _convert_anthropic_to_openai_request(self, *args: Any, **kwargs: Any) -> Any:
        raise self.error

    def create_error_response(self, error: Exception) -> tuple[str, Exception]:
        return "answered", error


@pytest.mark.parametrize("name", ["create_messages", "count_tokens"])
def test_a_wrong_value_is_answered_and_other_errors_are_raised(name: str) -> None:
    messages_errors.apply()
    messages_errors.apply()
    method: Any = getattr(AnthropicServingMessages, name)
    wrong = ValueError("top_k must be 0 (disable), or at least 1, got -1.")
    assert asyncio.run(method(Serving(wrong), None)) == ("answered", wrong)
    with pytest.raises(RuntimeError):
        asyncio.run(method(Serving(RuntimeError("the engine is gone")), None))
