"""A call that a rank cannot answer leaves the engine as it was."""

import pytest

from vllm_hetero.answers import answer, values
from vllm_hetero.rank_map import Rank


class Worker:
    rank_entry = Rank(1, "cpu")

    def add(self, a: int, b: int) -> int:
        return a + b

    def refuse(self) -> None:
        raise ValueError("no adapter in /x")


def test_every_reply_is_a_value() -> None:
    replies = [
        answer("add", Worker(), 1, b=2),
        answer(lambda worker, c: worker.add(c, 1), Worker(), 6),
    ]
    assert values(replies) == [3, 7]


def test_an_error_is_raised_with_its_rank_once_all_have_replied() -> None:
    replies = [answer("add", Worker(), 1, 2), answer("refuse", Worker())]
    with pytest.raises(RuntimeError, match=r"Rank 1 \(cpu\) answers refuse with ValueError: no ad"):
        values(replies)


def test_a_method_that_does_not_exist_is_an_error_and_no_end() -> None:
    assert "AttributeError" in (answer("missing", Worker()).error or "")
