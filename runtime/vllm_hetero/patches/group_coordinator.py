"""Patch: process groups that may hold GPU and CPU ranks.

What: ``parallel_state.GroupCoordinator`` becomes our subclass, so that the functions which
make vLLM's groups make ours.
Why: vLLM gives all groups of a process one backend. On a mixed group NCCL cannot be
joined by a CPU rank, and ``CudaCommunicator`` and ``CpuCommunicator`` each run collectives
of their own in ``__init__`` and dead-lock.
Removable when: ``init_model_parallel_group`` takes the coordinator class from the platform.
"""

from vllm.distributed import parallel_state

from vllm_hetero.patches.contract import require_parameters

_PARAMETERS = (
    "self",
    "group_ranks",
    "local_rank",
    "torch_distributed_backend",
    "use_device_communicator",
    "use_message_queue_broadcaster",
    "group_name",
)


def apply() -> None:
    """Replace the coordinator class; does nothing the second time."""
    from vllm_hetero.groups import HeterogeneousGroupCoordinator

    original = parallel_state.GroupCoordinator
    if original is HeterogeneousGroupCoordinator:
        return
    require_parameters(original.__init__, _PARAMETERS)
    parallel_state.GroupCoordinator = HeterogeneousGroupCoordinator
