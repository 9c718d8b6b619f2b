"""A hop: how activations go from one pipeline stage to the next when one is on a CPU."""

from typing import TYPE_CHECKING, Any, Protocol

import torch
from vllm.distributed.parallel_state import GroupCoordinator, Handle

from vllm_hetero.receive_buffers import ReceiveBuffers

if TYPE_CHECKING:
    from vllm_hetero.groups import HeterogeneousGroupCoordinator

TensorDict = dict[str, Any]


class Hop(Protocol):
    """One direction between two ranks. Messages arrive in the order they were sent."""

    def send(self, tensors: TensorDict) -> list[Handle]:
        """Start sending; the tensors may be changed once the handles are done."""

    def recv(self) -> TensorDict:
        """Wait for the next message; its tensors are on this rank's device."""

    def close(self) -> None:
        """Release what the hop holds."""


class GlooHop:
    """Through vLLM's own send and receive over the Gloo group, by way of host memory."""

    def __init__(self, group: "HeterogeneousGroupCoordinator", peer_in_group: int) -> None:
        self._group = group
        self._peer = peer_in_group
        self._buffers = ReceiveBuffers(group.device, group.max_tokens)

    def send(self, tensors: TensorDict) -> list[Handle]:
        on_host = {
            key: value.cpu() if isinstance(value, torch.Tensor) else value
            for key, value in tensors.items()
        }
        return GroupCoordinator.isend_tensor_dict(self._group, on_host, dst=self._peer)

    def recv(self) -> TensorDict:
        on_host, handles, _ = GroupCoordinator.irecv_tensor_dict(self._group, src=self._peer)
        assert on_host is not None
        for handle in handles:
            handle.wait()
        return {
            key: self._buffers.fill(key, value) if isinstance(value, torch.Tensor) else value
            for key, value in on_host.items()
        }

    def close(self) -> None:
        pass
