"""Hops: how activations go from one pipeline stage to the next when one is on a CPU.

``shm`` (:mod:`vllm_hetero.hops.shm`) is the default on one host; ``gloo``
(:mod:`vllm_hetero.hops.gloo`) goes through TCP and can be chosen with
``VLLM_HETERO_HOP=gloo``.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vllm.distributed.parallel_state import Handle


TensorDict = dict[str, Any]


class Sender(Protocol):
    """The sending end. Messages arrive in the order they were sent."""

    def send(self, tensors: TensorDict) -> "list[Handle]":
        """Start sending; the tensors may be changed once the handles were waited for."""

    def close(self) -> None:
        """Release what the end holds."""


class Receiver(Protocol):
    """The receiving end.

    Attributes:
        message_bytes: What the tensors of the last message hold, as it was sent.
    """

    message_bytes: int

    def recv(self) -> TensorDict:
        """Wait for the next message.

        Its tensors are on this rank's device, hold at least the rows that were sent (see
        :class:`~vllm_hetero.hops.receive_buffers.ReceiveBuffers`) and stay valid until the
        next call.
        """

    def close(self) -> None:
        """Release what the end holds."""
