"""A hop over the Gloo group, by way of host memory: vLLM's own send and receive."""

from typing import TYPE_CHECKING

import torch
from vllm.distributed.parallel_state import GroupCoordinator, Handle

from vllm_hetero import activity
from vllm_hetero.hops import TensorDict
from vllm_hetero.hops.message import tensor_bytes
from vllm_hetero.hops.receive_buffers import ReceiveBuffers

if TYPE_CHECKING:
    from vllm_hetero.groups import HeterogeneousGroupCoordinator


class GlooSender:
    def __init__(self, group: "HeterogeneousGroupCoordinator", peer_in_group: int) -> None:
        self._group = group
        self._peer = peer_in_group

    def send(self, tensors: TensorDict) -> list[Handle]:
        on_host = {
            key: value.cpu() if isinstance(value, torch.Tensor) else value
            for key, value in tensors.items()
        }
        return GroupCoordinator.isend_tensor_dict(self._group, on_host, dst=self._peer)

    def close(self) -> None:
        pass


class GlooReceiver:
    def __init__(self, group: "HeterogeneousGroupCoordinator", peer_in_group: int) -> None:
        self._group = group
        self._peer = peer_in_group
        self._buffers = ReceiveBuffers(group.device, group.max_tokens)
        self.message_bytes = 0

    def recv(self) -> TensorDict:
        with activity.waiting():
            on_host, handles, _ = GroupCoordinator.irecv_tensor_dict(self._group, src=self._peer)
            assert on_host is not None
            for handle in handles:
                handle.wait()
        self.message_bytes = tensor_bytes(on_host)
        return {
            key: self._buffers.fill(key, value) if isinstance(value, torch.Tensor) else value
            for key, value in on_host.items()
        }

    def close(self) -> None:
        pass
