"""Shared memory between ranks: made by one, mapped by others, named for a moment."""

import mmap
import os
import secrets
from pathlib import Path

_FOLDER = Path("/dev/shm")


class SegmentError(RuntimeError):
    """The shared memory cannot be had; the message says how much and what to do."""


def free_bytes() -> int:
    """Free space for shared memory."""
    status = os.statvfs(_FOLDER)
    return status.f_bavail * status.f_frsize


def create(size: int) -> tuple[str, mmap.mmap]:
    """Make a segment of ``size`` bytes that only this user can open.

    Its pages are touched here, so they lie on the NUMA node that the caller's memory is
    bound to.

    Returns:
        Its name, for :func:`attach` in the other process, and the mapping.

    Raises:
        SegmentError: ``/dev/shm`` has no room or cannot be written.
    """
    name = f"vllm_hetero-{secrets.token_hex(16)}"
    path = _FOLDER / name
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Without this, a full /dev/shm would end the process by SIGBUS at first use.
            os.posix_fallocate(descriptor, 0, size)
            mapping = mmap.mmap(descriptor, size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SegmentError(
            f"a hop needs {size / 2**20:.0f} MiB of shared memory, but /dev/shm has "
            f"{free_bytes() / 2**20:.0f} MiB free ({error.strerror}); enlarge it (docker run "
            "--shm-size, or --ipc=host), or set VLLM_HETERO_HOP=gloo"
        ) from error
    for page in range(0, size, mmap.PAGESIZE):
        mapping[page] = 0
    return name, mapping


def attach(name: str, keep_name: bool = False) -> mmap.mmap:
    """Map a segment made by :func:`create` in another process, and remove its name.

    From then on nothing is left to clean up, however either process ends.

    Args:
        name: What :func:`create` returned.
        keep_name: More processes are to attach; one of them calls :func:`remove` at last.

    Raises:
        SegmentError: there is no such segment.
    """
    path = _FOLDER / name
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        raise SegmentError(f"cannot open the shared memory {name}: {error.strerror}") from error
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
        if not keep_name:
            remove(name)


def remove(name: str) -> None:
    """Remove a segment's name; the mappings stay."""
    (_FOLDER / name).unlink(missing_ok=True)
