"""Sets up the hops of a pipeline group, before any of them is used."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vllm_hetero import env
from vllm_hetero.hops import Receiver, Sender
from vllm_hetero.hops.counted import CountedReceiver, CountedSender
from vllm_hetero.hops.gloo import GlooReceiver, GlooSender
from vllm_hetero.hops.segment import SegmentError, attach
from vllm_hetero.hops.shm import ShmReceiver, ShmSender, create_segment
from vllm_hetero.metrics import record

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from vllm_hetero.groups import HeterogeneousGroupCoordinator

# Of a transformer's stage: hidden states and residual.
_TENSORS_PER_MESSAGE = 2


@dataclass
class Hops:
    """This rank's ends, by the peer's rank in the group."""

    senders: dict[int, Sender] = field(default_factory=dict)
    receivers: dict[int, Receiver] = field(default_factory=dict)


def connect_hops(group: "HeterogeneousGroupCoordinator", config: "VllmConfig") -> Hops:
    """Connect each stage with the next where one of the two is on a CPU.

    All members call this; two neighbours talk to each other only, in pipeline order, so
    nobody waits in a circle.

    Raises:
        ValueError: ``VLLM_HETERO_HOP`` is not one of :data:`~vllm_hetero.env.HOPS`.
        SegmentError: there is no room for the shared memory.
    """
    kind = env.hop()
    hops = Hops()
    for source in range(group.world_size - 1):
        target = source + 1
        if group.rank_in_group not in (source, target):
            continue
        if not (group.on_cpu(source) or group.on_cpu(target)):
            continue
        sends = group.rank_in_group == source
        peer = target if sends else source
        if kind == "gloo":
            _connect_gloo(hops, group, peer, sends)
        else:
            _connect_shm(hops, group, peer, sends, _message_bytes(config))
    _count(hops)
    return hops


def _count(hops: Hops) -> None:
    """Let the ends count, in the process of an engine's rank."""
    if (own := record.own()) is None:
        return
    for peer, sender in hops.senders.items():
        hops.senders[peer] = CountedSender(sender, own)
    for peer, receiver in hops.receivers.items():
        hops.receivers[peer] = CountedReceiver(receiver, own)


def _connect_gloo(
    hops: Hops, group: "HeterogeneousGroupCoordinator", peer: int, sends: bool
) -> None:
    if sends:
        hops.senders[peer] = GlooSender(group, peer)
    else:
        hops.receivers[peer] = GlooReceiver(group, peer)


def _connect_shm(
    hops: Hops,
    group: "HeterogeneousGroupCoordinator",
    peer: int,
    sends: bool,
    message_bytes: int,
) -> None:
    """The CPU end makes the memory, so that it lies on its NUMA node; the other attaches."""
    target = peer if sends else group.rank_in_group
    source = group.rank_in_group if sends else peer
    creator = target if group.on_cpu(target) else source
    if group.rank_in_group == creator:
        try:
            name, mapping = create_segment(message_bytes, to_gpu=not group.on_cpu(target))
        except SegmentError as error:
            # The peer waits for a name: let it fail with the reason, too.
            group.send_object(error, dst=peer)
            raise
        group.send_object(name, dst=peer)
    else:
        answer = group.recv_object(src=peer)
        if isinstance(answer, SegmentError):
            raise answer
        mapping = attach(answer)
    if sends:
        hops.senders[peer] = ShmSender(mapping, group.device, to_gpu=not group.on_cpu(peer))
    else:
        hops.receivers[peer] = ShmReceiver(mapping, group.device, group.max_tokens)


def _message_bytes(config: "VllmConfig") -> int:
    """The largest message between two stages."""
    model = config.model_config
    row = model.get_hidden_size() * model.dtype.itemsize
    return config.scheduler_config.max_num_batched_tokens * row * _TENSORS_PER_MESSAGE
