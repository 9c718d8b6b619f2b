"""A message is taken when it is used, once, and in its turn."""

import torch

from vllm_hetero.hops import TensorDict
from vllm_hetero.hops.reception import Reception


class Messages:
    """A receiver that counts."""

    def __init__(self) -> None:
        self.taken = 0

    def recv(self) -> TensorDict:
        self.taken += 1
        return {"hidden_states": torch.full((1,), self.taken)}

    def close(self) -> None:
        pass


def test_nothing_is_waited_for_until_it_is_used() -> None:
    messages = Messages()
    reception = Reception(messages)
    assert (messages.taken, reception.tensors) == (0, {})
    assert not reception.is_completed()
    reception.wait()
    reception.wait()
    assert messages.taken == 1
    assert reception.is_completed()
    assert reception.tensors["hidden_states"].item() == 1


def test_a_message_that_nobody_used_does_not_become_the_next_one() -> None:
    messages = Messages()
    unused = Reception(messages)
    used = Reception(messages, unused)
    used.wait()
    assert used.tensors["hidden_states"].item() == 2
