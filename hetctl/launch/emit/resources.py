"""What a plan takes of a machine: for those who must reserve it."""

from hetctl.plan import Plan
from hetctl.planner.device import CPU_RESERVE_BYTES
from hetctl.units import GIB

SHARED_MEMORY_BYTES = GIB
"""For ``/dev/shm``; vLLM's message queues need some MiB for each rank."""
GPU_RANK_HOST_BYTES = 4 * GIB
"""Python, CUDA's context and libraries of a GPU rank, and pinned buffers, in host memory."""


def gpus(plan: Plan) -> tuple[int, ...]:
    """The plan's GPUs as NVML numbers them, rising."""
    return tuple(sorted(int(d.removeprefix("cuda:")) for d in plan.devices if d != "cpu"))


def host_memory_bytes(plan: Plan) -> int:
    """Memory of the CPU ranks, streamed weights, and all processes around them.

    The planner leaves a reserve on each NUMA node, so that a plan made inside of this limit
    finds as much room as the given one.
    """
    nodes = {rank.numa_node for rank in plan.ranks if rank.device == "cpu"} or {None}
    ranks = sum(rank.used_bytes for rank in plan.ranks if rank.device == "cpu")
    streamed = sum(rank.host_weight_bytes for rank in plan.ranks)
    return (
        ranks
        + streamed
        + len(nodes) * CPU_RESERVE_BYTES
        + len(gpus(plan)) * GPU_RANK_HOST_BYTES
        + SHARED_MEMORY_BYTES
    )


def cpus(plan: Plan) -> int:
    """CPUs that the CPU ranks compute on, and one for the engine and each GPU rank."""
    computing = {cpu for rank in plan.ranks for cpu in rank.cpus}
    return len(computing) + 1 + len(gpus(plan))


def weight_bytes(plan: Plan) -> int:
    """Of the model, on all devices."""
    return sum(rank.weight_bytes + rank.host_weight_bytes for rank in plan.ranks)


def in_gib(size_bytes: int) -> str:
    """Rounded up, as Kubernetes and Docker write it: ``12Gi`` without the B."""
    return f"{-(-size_bytes // GIB)}Gi"
