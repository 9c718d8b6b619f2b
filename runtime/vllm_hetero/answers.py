"""Calls of all ranks that may fail without ending the engine: LoRA, profiling, sleeping.

vLLM stops taking replies at the first one that is an error. The other ranks' replies stay
in their queues and are then taken for those of the next call. So a rank answers an error as
a value, and the engine raises it once it has all replies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_hetero import activity
from vllm_hetero.failure import in_one_line
from vllm_hetero.log import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True)
class Answer:
    """What one rank replies."""

    value: Any = None
    error: str | None = None


def answer(method: str | Callable[..., Any], worker: Any, *args: Any, **kwargs: Any) -> Answer:
    """Runs in a rank: call ``method`` of its worker, or with it, and never raise."""
    name = method if isinstance(method, str) else getattr(method, "__name__", "a function")
    record = activity.own()
    before = record.enter(name) if record is not None else b""
    try:
        if isinstance(method, str):
            return Answer(getattr(worker, method)(*args, **kwargs))
        return Answer(method(worker, *args, **kwargs))
    except Exception as error:
        logger.exception("%s failed", name)
        rank = worker.rank_entry
        return Answer(
            error=f"Rank {rank.rank} ({rank.device}) answers {name} with {in_one_line(error)}"
        )
    finally:
        if record is not None:
            record.leave(before)


def values(answers: Sequence[Answer]) -> list[Any]:
    """What the ranks replied, in their order.

    Raises:
        RuntimeError: with the first rank's error, if any has one.
    """
    for reply in answers:
        if reply.error is not None:
            raise RuntimeError(reply.error)
    return [reply.value for reply in answers]
