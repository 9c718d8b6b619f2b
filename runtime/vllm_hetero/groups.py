"""Process groups in which some ranks have a GPU and some do not."""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup
from vllm.config import get_current_vllm_config
from vllm.distributed.device_communicators.base_device_communicator import DeviceCommunicatorBase
from vllm.distributed.parallel_state import (
    GroupCoordinator,
    Handle,
    _get_unique_name,
    _register_group,
)
from vllm.utils.import_utils import resolve_obj_by_qualname

from vllm_hetero.active_map import rank_map
from vllm_hetero.hops import Receiver, Sender
from vllm_hetero.hops.connect import connect_hops


class HeterogeneousGroupCoordinator(GroupCoordinator):
    """A group coordinator for any mix of GPU and CPU ranks.

    ============ ======================= ======================== =====================
    members      ``cpu_group``           ``device_group``         communicator
    ============ ======================= ======================== =====================
    all GPU      Gloo                    NCCL                     vLLM's for CUDA
    all CPU      Gloo                    the same Gloo group      vLLM's for CPU
    mixed        Gloo, all members       NCCL among the GPU       none; pipeline hops
                                         members if there are
                                         two or more, else None
    ============ ======================= ======================== =====================

    NCCL groups hold GPU ranks only. Every rank of the world makes all groups in the same
    order, as ``torch.distributed.new_group`` requires.
    """

    def __init__(
        self,
        group_ranks: list[list[int]],
        local_rank: int,
        torch_distributed_backend: str,
        use_device_communicator: bool,
        use_message_queue_broadcaster: bool = False,
        group_name: str | None = None,
    ) -> None:
        # Not super().__init__(): it gives one backend to all groups. The attributes are
        # those that it sets; tests/runtime/test_contract.py compares the two.
        from vllm.distributed import parallel_state
        from vllm.platforms import current_platform

        group_name = group_name or "anonymous"
        self.unique_name = _get_unique_name(group_name)
        _register_group(self)
        self.rank = dist.get_rank()
        self.local_rank = local_rank
        world = parallel_state._WORLD
        self.device_index = local_rank if world is None else world.device_index
        self.group_ranks = group_ranks
        self.torch_distributed_backend = torch_distributed_backend
        # vLLM's configuration is in reach while groups are made, not when they are used.
        config = get_current_vllm_config()
        self.max_tokens: int = config.scheduler_config.max_num_batched_tokens
        self._cpu_ranks = frozenset(rank_map(dist.get_world_size()).cpu_ranks)
        self._make_groups(group_ranks)
        self.device = (
            torch.device("cpu")
            if self.rank in self._cpu_ranks
            else torch.device(f"cuda:{self.device_index}")
        )
        self.use_device_communicator = use_device_communicator
        self.device_communicator = (
            self._make_communicator(group_name) if use_device_communicator else None
        )
        self._senders: dict[int, Sender] = {}
        self._receivers: dict[int, Receiver] = {}
        if group_name == "pp":
            hops = connect_hops(self, config)
            self._senders, self._receivers = hops.senders, hops.receivers
        self.mq_broadcaster = None
        if use_message_queue_broadcaster and self.world_size > 1:
            self.mq_broadcaster = self.create_mq_broadcaster()
        self.use_custom_op_call = current_platform.use_custom_op_collectives()
        self.use_cpu_custom_send_recv = False

    def _make_groups(self, group_ranks: list[list[int]]) -> None:
        from vllm.distributed.utils import (
            get_cpu_distributed_timeout_or_none,
            get_distributed_timeout_or_none,
        )

        for ranks in group_ranks:
            gpu_ranks = [rank for rank in ranks if rank not in self._cpu_ranks]
            cpu_group = dist.new_group(
                ranks, backend="gloo", timeout=get_cpu_distributed_timeout_or_none()
            )
            device_group: ProcessGroup | None = None
            if len(gpu_ranks) == len(ranks) or len(gpu_ranks) > 1:
                device_group = dist.new_group(
                    gpu_ranks, backend="nccl", timeout=get_distributed_timeout_or_none()
                )
            elif not gpu_ranks:
                device_group = cpu_group
            if self.rank in ranks:
                self.ranks = ranks
                self.world_size = len(ranks)
                self.rank_in_group = ranks.index(self.rank)
                self.cpu_group = cpu_group
                in_device_group = device_group is cpu_group or self.rank in gpu_ranks
                self.device_group = device_group if in_device_group else None

    @property
    def is_mixed(self) -> bool:
        """Whether GPU and CPU ranks are in this group."""
        return 0 < len(self._cpu_ranks & set(self.ranks)) < self.world_size

    def _make_communicator(self, group_name: str) -> DeviceCommunicatorBase | None:
        """vLLM's own communicator of the members' device, where they all have one kind.

        A pipeline group with a CPU rank needs none: it only passes tensors from one stage
        to the next, which hops do.
        """
        from vllm.platforms import current_platform

        has_cpu_ranks = bool(self._cpu_ranks & set(self.ranks))
        if self.world_size == 1 or self.is_mixed or (group_name == "pp" and has_cpu_ranks):
            return None
        communicator = resolve_obj_by_qualname(current_platform.get_device_communicator_cls())
        return communicator(
            cpu_group=self.cpu_group,
            device=self.device,
            device_group=self.device_group,
            unique_name=self.unique_name,
        )

    def isend_tensor_dict(
        self,
        tensor_dict: dict[str, Any],
        dst: int | None = None,
        all_gather_group: GroupCoordinator | None = None,
        all_gather_tensors: dict[str, bool] | None = None,
    ) -> list[Handle]:
        dst = (self.rank_in_group + 1) % self.world_size if dst is None else dst
        if self._both_on_gpu(dst):
            return super().isend_tensor_dict(tensor_dict, dst, all_gather_group, all_gather_tensors)
        return self._senders[dst].send(tensor_dict)

    def irecv_tensor_dict(
        self,
        src: int | None = None,
        all_gather_group: GroupCoordinator | None = None,
        all_gather_tensors: dict[str, bool] | None = None,
    ) -> tuple[dict[str, Any] | None, list[Handle], list[Any]]:
        src = (self.rank_in_group - 1) % self.world_size if src is None else src
        if self._both_on_gpu(src):
            return super().irecv_tensor_dict(src, all_gather_group, all_gather_tensors)
        return self._receivers[src].recv(), [], []

    def on_cpu(self, rank_in_group: int) -> bool:
        """Whether a member of this group is a CPU rank."""
        return self.ranks[rank_in_group] in self._cpu_ranks

    def _both_on_gpu(self, peer_in_group: int) -> bool:
        return not self.on_cpu(self.rank_in_group) and not self.on_cpu(peer_in_group)

    def destroy(self) -> None:
        for end in (*self._senders.values(), *self._receivers.values()):
            end.close()
        if self.device_communicator is not None:
            self.device_communicator.destroy()
        if self.device_group is not None and self.device_group is not self.cpu_group:
            dist.destroy_process_group(self.device_group)
        dist.destroy_process_group(self.cpu_group)
        self.mq_broadcaster = None
