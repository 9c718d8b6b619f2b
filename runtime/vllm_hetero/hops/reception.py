"""A message that is on its way: it is waited for when it is used."""

from vllm_hetero.hops import Receiver, TensorDict


class Reception:
    """What vLLM's worker holds while it prepares a step: the handle of a receive.

    The worker asks for the activations first and uses them last, so that the rank's own
    preparations take place while the stage before it still computes.

    Args:
        receiver: Where the message comes from.
        before: The reception before this one; it takes its message first, should nobody have
            asked for it.

    Attributes:
        tensors: Empty until :meth:`wait`, then the message.
    """

    def __init__(self, receiver: Receiver, before: "Reception | None" = None) -> None:
        if before is not None:
            before.wait()
        self.tensors: TensorDict = {}
        self._receiver: Receiver | None = receiver

    def is_completed(self) -> bool:
        """Whether the message is there; it is looked for in :meth:`wait` only."""
        return self._receiver is None

    def wait(self) -> None:
        """Wait for the message; does nothing the second time."""
        if self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            self.tensors.update(receiver.recv())
