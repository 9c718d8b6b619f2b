"""Room in ``/dev/shm`` before the ranks start, and what killed ranks leave in it.

vLLM reserves its message queues there without asking whether there is room: the memory is
taken when a page is first written, and if there is none left then, the kernel ends the
process by SIGBUS without a word.
"""

import contextlib
import os
from pathlib import Path

from vllm_hetero.remedy import FULL_SHARED_MEMORY

FOLDER = Path("/dev/shm")
QUEUE_BYTES = 4 << 20
"""What one of vLLM's message queues is granted. Its ten chunks are reserved with 16 or 24 MiB
each, of which messages fill some KiB; a prompt of 100,000 tokens takes about 300 KiB."""
_MIB = 1 << 20


class SharedMemoryError(RuntimeError):
    """There is too little room; the message says how much is missing."""


def free_bytes(folder: Path = FOLDER) -> int:
    """Free room for shared memory."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def require_room(world_size: int, folder: Path = FOLDER) -> None:
    """Raise unless an engine's message queues fit: one to all ranks, one from each.

    Raises:
        SharedMemoryError: naming what is needed, what is free and what to do.
    """
    needed = (1 + world_size) * QUEUE_BYTES
    try:
        free = free_bytes(folder)
    except OSError as error:
        raise SharedMemoryError(
            f"{folder} cannot be used ({error.strerror}); mount a tmpfs there."
        ) from error
    if free < needed:
        raise SharedMemoryError(
            f"{folder} has {free / _MIB:.0f} MiB free, but the queues of {world_size} ranks need "
            f"{needed / _MIB:.0f} MiB; {FULL_SHARED_MEMORY}."
        )


def remove_group_segments(init_method: str, folder: Path = FOLDER) -> None:
    """Remove what killed CPU ranks leave of a tensor-parallel group's shared memory.

    Only a rank that ends in order unlinks it.

    Args:
        init_method: Address of the engine's process groups, ``tcp://HOST:PORT``; vLLM's
            CPU worker begins the names with the port.
    """
    port = init_method.rpartition(":")[2]
    for segment in folder.glob(f"{port}-*-cpushm_*"):
        with contextlib.suppress(OSError):
            if segment.stat().st_uid == os.getuid():
                segment.unlink()
