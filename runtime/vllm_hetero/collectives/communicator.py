"""The communicator of a tensor-parallel group that mixes GPU and CPU ranks."""

import mmap
import os
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from vllm.distributed.device_communicators.base_device_communicator import DeviceCommunicatorBase

from vllm_hetero.collectives.bridge import Bridge, ClassCommunicator, bridge_bytes
from vllm_hetero.hops import segment

if TYPE_CHECKING:
    from vllm_hetero.groups import HeterogeneousGroupCoordinator


class MixedCommunicator(DeviceCommunicatorBase):
    """What vLLM calls for the collectives of a mixed group.

    All members call each of them in the same order with tensors of one shape and dtype, as
    any collective requires.
    """

    def __init__(
        self, group: "HeterogeneousGroupCoordinator", peers: ClassCommunicator | None
    ) -> None:
        super().__init__(group.cpu_group, group.device, group.device_group, group.unique_name)
        on_gpu = [not group.on_cpu(member) for member in range(group.world_size)]
        self.bridge = Bridge(
            _share_segment(group, owner=on_gpu.index(False)),
            on_gpu,
            me=group.rank_in_group,
            pid=os.getpid(),
            device=group.device,
            peers=peers,
        )

    def all_reduce(self, input_: torch.Tensor) -> torch.Tensor:
        return self.bridge.all_reduce(input_)

    def all_gather(self, input_: torch.Tensor, dim: int = -1) -> torch.Tensor:
        return self.bridge.all_gather(input_, dim)

    def gather(self, input_: torch.Tensor, dst: int = 0, dim: int = -1) -> torch.Tensor | None:
        gathered = self.bridge.all_gather(input_, dim)
        return gathered if self.rank_in_group == dst else None

    def reduce_scatter(self, input_: torch.Tensor, dim: int = -1) -> torch.Tensor:
        """This rank's part of the sum.

        Raises:
            ValueError: the group's size does not divide the length of ``dim``.
        """
        if input_.shape[dim] % self.world_size:
            raise ValueError(
                f"cannot scatter {input_.shape[dim]} rows over {self.world_size} ranks evenly"
            )
        total = self.bridge.all_reduce(input_)
        return total.chunk(self.world_size, dim)[self.rank_in_group].contiguous()

    def broadcast(self, tensor: torch.Tensor, src: int = 0) -> torch.Tensor:
        return self.bridge.broadcast(tensor, src)

    def destroy(self) -> None:
        self.bridge.close()


def _share_segment(group: "HeterogeneousGroupCoordinator", owner: int) -> mmap.mmap:
    """Make the segment on member ``owner``, a CPU rank, so that it lies on its NUMA node.

    Raises:
        SegmentError: on every member, when there is no room.
    """
    made: tuple[str, mmap.mmap] | segment.SegmentError | None = None
    if group.rank_in_group == owner:
        try:
            made = segment.create(bridge_bytes(group.world_size))
        except segment.SegmentError as error:
            made = error
    answer = group.broadcast_object(made[0] if isinstance(made, tuple) else made, src=owner)
    if isinstance(answer, segment.SegmentError):
        raise answer
    mapping = made[1] if isinstance(made, tuple) else segment.attach(answer, keep_name=True)
    dist.barrier(group.cpu_group)
    if group.rank_in_group == owner:
        segment.remove(answer)
    return mapping
