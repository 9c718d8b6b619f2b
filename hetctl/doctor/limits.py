"""Shared memory and what the kernel lets one process have."""

import re
import resource

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, skipped, warned
from hetctl.units import MIB, format_bytes
from vllm_hetero.shared_memory import FOLDER, SharedMemoryError, free_bytes, require_room

_NCCL_BYTES = 256 * MIB
_MANY_FILES = 65_535
"""What vLLM's API server raises its limit to, as far as it may."""
_FEW_FILES = 4_096
_PINNED_BYTES = 512 * MIB
"""The largest ring of shared memory that a GPU rank pins."""


def shared_memory(surroundings: Surroundings) -> Outcome:
    """Room for vLLM's message queues, and for NCCL's where there are several GPUs."""
    machine = surroundings.machine
    ranks = max(2, len(machine.gpus) + len(machine.numa_nodes))
    larger = (
        "Enlarge it (docker run --shm-size=1g, or --ipc=host; Kubernetes: an emptyDir of Memory)."
    )
    try:
        require_room(ranks)
    except SharedMemoryError as error:
        return failed(str(error), larger)
    free = free_bytes()
    if len(machine.gpus) > 1 and free < _NCCL_BYTES:
        return warned(f"{format_bytes(free)} free: little for NCCL between GPUs", larger)
    return passed(f"{format_bytes(free)} free in {FOLDER}")


def locked_memory(surroundings: Surroundings) -> Outcome:
    if not surroundings.machine.gpus:
        return skipped("only GPU ranks pin memory")
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY:
        return passed("unlimited")
    if limit < _PINNED_BYTES:
        return warned(
            f"{format_bytes(limit)} (ulimit -l); the NVIDIA driver usually pins regardless of it, "
            "which the round trip below tries",
            "If pinning fails: ulimit -l unlimited (docker run --ulimit memlock=-1).",
        )
    return passed(format_bytes(limit))


def open_files(surroundings: Surroundings) -> Outcome:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft}, can be raised to {hard}"
    remedy = f"Raise it to {_MANY_FILES} (ulimit -Hn; docker run --ulimit nofile={_MANY_FILES})."
    if hard != resource.RLIM_INFINITY and hard < _FEW_FILES:
        return failed(f"{detail}: too few for a server and its ranks", remedy)
    if hard != resource.RLIM_INFINITY and hard < _MANY_FILES and soft < _MANY_FILES:
        return warned(f"{detail}: each open request takes one", remedy)
    return passed(detail)


def huge_pages(surroundings: Surroundings) -> Outcome:
    text = surroundings.files.text("/sys/kernel/mm/transparent_hugepage/enabled") or ""
    chosen = re.search(r"\[(\w+)\]", text)
    mode = f"transparent: {chosen[1] if chosen else 'unknown'}"
    nodes = surroundings.machine.numa_nodes
    reserved = sum(node.hugepages_total * (node.hugepage_size_bytes or 0) for node in nodes)
    total = sum(node.memory_total_bytes for node in nodes)
    if reserved > total // 10:
        return warned(
            f"{mode}; {format_bytes(reserved)} are set aside, which neither vLLM nor torch uses",
            "Give them back with sysctl vm.nr_hugepages=0, unless another program needs them.",
        )
    return passed(f"{mode}; for weights no gain was seen from them")


_GROUP = "limits"
CHECKS = (
    Check(_GROUP, "/dev/shm", shared_memory),
    Check(_GROUP, "locked memory", locked_memory),
    Check(_GROUP, "open files", open_files),
    Check(_GROUP, "huge pages", huge_pages),
)
