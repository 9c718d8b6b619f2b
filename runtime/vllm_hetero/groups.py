"""Process groups in which some ranks have a GPU and some do not."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup
from vllm.config import get_current_vllm_config
from vllm.distributed.device_communicators.base_device_communicator import DeviceCommunicatorBase
from vllm.distributed.device_communicators.cpu_communicator import (
    CpuCommunicator,
    _CPUSHMDistributed,
)
from vllm.distributed.parallel_state import (
    GroupCoordinator,
    Handle,
    _get_unique_name,
    _register_group,
)
from vllm.utils.import_utils import resolve_obj_by_qualname

from vllm_hetero import shared_memory
from vllm_hetero.active_map import rank_map
from vllm_hetero.hops import Receiver, Sender
from vllm_hetero.hops.connect import connect_hops
from vllm_hetero.hops.reception import Reception


class HeterogeneousGroupCoordinator(GroupCoordinator):
    """A group coordinator for any mix of GPU and CPU ranks.

    ============ ======================= ======================== =====================
    members      ``cpu_group``           ``device_group``         communicator
    ============ ======================= ======================== =====================
    all GPU      Gloo                    NCCL                     vLLM's for CUDA
    all CPU      Gloo                    the same Gloo group      vLLM's for CPU
    mixed        Gloo, all members       NCCL among the GPU       tensor parallel:
                                         members if there are     ``MixedCommunicator``;
                                         two or more, else None   pipeline: hops
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
        self._tensor_parallel_size: int = config.parallel_config.tensor_parallel_size
        self._cpu_ranks = frozenset(rank_map(dist.get_world_size()).cpu_ranks)
        self._class_group: ProcessGroup | None = None
        self._make_groups(group_ranks, has_collectives=group_name == "tp")
        self.device = (
            torch.device("cpu")
            if self.rank in self._cpu_ranks
            else torch.device(f"cuda:{self.device_index}")
        )
        # Communicators and hops already send objects to each other while they are made.
        self.mq_broadcaster = None
        self.use_device_communicator = use_device_communicator
        self.device_communicator = (
            self._make_communicator(group_name) if use_device_communicator else None
        )
        self._senders: dict[int, Sender] = {}
        self._receivers: dict[int, Receiver] = {}
        self._receptions: dict[int, Reception] = {}
        if group_name == "pp":
            hops = connect_hops(self, config)
            self._senders, self._receivers = hops.senders, hops.receivers
        if use_message_queue_broadcaster and self.world_size > 1:
            self.mq_broadcaster = self.create_mq_broadcaster()
        self.use_custom_op_call = current_platform.use_custom_op_collectives()
        self.use_cpu_custom_send_recv = False

    def _make_groups(self, group_ranks: list[list[int]], has_collectives: bool) -> None:
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
            if has_collectives and self._mixes(ranks):
                self._make_class_groups(ranks)

    def _make_class_groups(self, ranks: list[int]) -> None:
        """Gloo groups of the members of one device class, where it has two or more."""
        from vllm.distributed.utils import get_cpu_distributed_timeout_or_none

        for on_cpu in (False, True):
            members = [rank for rank in ranks if (rank in self._cpu_ranks) == on_cpu]
            if len(members) > 1:
                group = dist.new_group(
                    members, backend="gloo", timeout=get_cpu_distributed_timeout_or_none()
                )
                if self.rank in members:
                    self._class_group = group

    def _mixes(self, ranks: Iterable[int]) -> bool:
        """Whether GPU and CPU ranks are among ``ranks``."""
        return len({rank in self._cpu_ranks for rank in ranks}) > 1

    @property
    def is_mixed(self) -> bool:
        """Whether GPU and CPU ranks are in this group."""
        return self._mixes(self.ranks)

    def _make_communicator(self, group_name: str) -> DeviceCommunicatorBase | None:
        """vLLM's own communicator where all members have one kind of device.

        A mixed group of tensor-parallel ranks gets ours, which has vLLM's for the members
        of its own class. Other groups with a CPU rank need none: a pipeline only passes
        tensors from one stage to the next, which hops do.
        """
        has_cpu_ranks = bool(self._cpu_ranks & set(self.ranks))
        if self.world_size == 1 or (group_name == "pp" and has_cpu_ranks):
            return None
        if not self.is_mixed:
            return self._class_communicator(self.cpu_group)
        if group_name != "tp":
            return None
        from vllm_hetero.collectives.communicator import MixedCommunicator

        peers = self._class_group and self._class_communicator(self._class_group)
        return MixedCommunicator(self, peers)

    def _class_communicator(self, group: ProcessGroup) -> DeviceCommunicatorBase:
        """vLLM's communicator for this rank's device, among the members of ``group``."""
        from vllm.platforms import current_platform

        on_cpu = self.rank in self._cpu_ranks
        communicator = resolve_obj_by_qualname(current_platform.get_device_communicator_cls())(
            cpu_group=group,
            device=self.device,
            device_group=group if on_cpu else self.device_group,
            unique_name=self.unique_name,
        )
        if on_cpu:
            _remove_shm_names(communicator)
        return communicator

    def broadcast(self, input_: torch.Tensor, src: int = 0) -> torch.Tensor:
        if self.is_mixed and self.device_communicator is not None:
            return self.device_communicator.broadcast(input_, src)
        return super().broadcast(input_, src)

    def isend_tensor_dict(
        self,
        tensor_dict: dict[str, Any],
        dst: int | None = None,
        all_gather_group: GroupCoordinator | None = None,
        all_gather_tensors: dict[str, bool] | None = None,
    ) -> list[Handle]:
        dst = (self.rank_in_group + 1) % self.world_size if dst is None else dst
        if self._both_on_gpu(dst):
            group = all_gather_group if self._stages_are_on_gpus(dst) else None
            return super().isend_tensor_dict(tensor_dict, dst, group, all_gather_tensors)
        return self._senders[dst].send(tensor_dict)

    def irecv_tensor_dict(
        self,
        src: int | None = None,
        all_gather_group: GroupCoordinator | None = None,
        all_gather_tensors: dict[str, bool] | None = None,
    ) -> tuple[dict[str, Any] | None, list[Handle], list[Any]]:
        src = (self.rank_in_group - 1) % self.world_size if src is None else src
        if self._both_on_gpu(src):
            group = all_gather_group if self._stages_are_on_gpus(src) else None
            return super().irecv_tensor_dict(src, group, all_gather_tensors)
        reception = Reception(self._receivers[src], self._receptions.get(src))
        self._receptions[src] = reception
        return reception.tensors, [reception], []

    def on_cpu(self, rank_in_group: int) -> bool:
        """Whether a member of this group is a CPU rank."""
        return self.ranks[rank_in_group] in self._cpu_ranks

    def _both_on_gpu(self, peer_in_group: int) -> bool:
        return not self.on_cpu(self.rank_in_group) and not self.on_cpu(peer_in_group)

    def _stages_are_on_gpus(self, peer_in_group: int) -> bool:
        """Whether no CPU rank has a part in this rank's pipeline stage or in the peer's.

        Only then may each tensor-parallel rank send a slice and gather the rest at the
        other end: a CPU rank's hop carries whole tensors and gathers nothing.
        """
        size = self._tensor_parallel_size
        return not any(
            rank in self._cpu_ranks
            for member in (self.rank, self.ranks[peer_in_group])
            for rank in range(member // size * size, member // size * size + size)
        )

    def destroy(self) -> None:
        for end in (*self._senders.values(), *self._receivers.values()):
            end.close()
        if self.device_communicator is not None:
            self.device_communicator.destroy()
        if self.device_group is not None and self.device_group is not self.cpu_group:
            dist.destroy_process_group(self.device_group)
        if self._class_group is not None:
            dist.destroy_process_group(self._class_group)
        dist.destroy_process_group(self.cpu_group)
        self.mq_broadcaster = None


def _remove_shm_names(communicator: CpuCommunicator) -> None:
    """Remove the names of the shared memory that vLLM's CPU collectives use.

    All members have mapped it when the communicator exists. vLLM removes the names only
    when the process ends in good order, which a rank never does.
    """
    if isinstance(communicator.dist_module, _CPUSHMDistributed):
        name = f"{communicator.dist_module.group_name}_{communicator.rank}"
        (shared_memory.FOLDER / name).unlink(missing_ok=True)
