"""Hops between two ranks of a group of two, there and back, outside an engine.

Rank 0 may have a GPU; rank 1 is a CPU rank and makes the shared memory, as in an engine. For
what tries out or times hops.
"""

from typing import TYPE_CHECKING

import torch

from vllm_hetero.hops import Receiver, Sender
from vllm_hetero.hops.gloo import GlooReceiver, GlooSender
from vllm_hetero.hops.segment import attach
from vllm_hetero.hops.shm import ShmReceiver, ShmSender, create_segment

if TYPE_CHECKING:
    from vllm_hetero.groups import HeterogeneousGroupCoordinator

CPU_RANK = 1


def gloo_ends(group: "HeterogeneousGroupCoordinator") -> tuple[Sender, Receiver]:
    """This rank's ends of the hops over Gloo."""
    peer = 1 - group.rank
    return GlooSender(group, peer), GlooReceiver(group, peer)


def shm_ends(
    group: "HeterogeneousGroupCoordinator", message_bytes: int, max_tokens: int
) -> tuple[Sender, Receiver]:
    """This rank's ends of the hops through shared memory; both ranks call this.

    Args:
        message_bytes: Of the largest message.
        max_tokens: Its rows.
    """
    device = group.device
    if group.rank == CPU_RANK:
        # A CPU rank sees no GPU itself.
        to_gpu = group.recv_object(src=0)
        made = [create_segment(message_bytes), create_segment(message_bytes, to_gpu)]
        group.send_object([name for name, _ in made], dst=0)
        (_, incoming), (_, outgoing) = made
        return ShmSender(outgoing, device, to_gpu), ShmReceiver(incoming, device, max_tokens)
    group.send_object(device.type == "cuda", dst=CPU_RANK)
    outgoing, incoming = (attach(name) for name in group.recv_object(src=CPU_RANK))
    return ShmSender(outgoing, device), ShmReceiver(incoming, device, max_tokens)


def join(
    rank: int, init_method: str, device: torch.device, max_tokens: int
) -> "HeterogeneousGroupCoordinator":
    """The group of the two, by vLLM's own means; each calls this in its process."""
    from vllm.distributed import parallel_state

    parallel_state.init_distributed_environment(2, rank, init_method, local_rank=0, backend="gloo")
    group = parallel_state.get_world_group()
    group.device = device
    group.max_tokens = max_tokens
    return group
