"""Shared memory between ranks: made by one, mapped by others, without a name.

It is an anonymous file (``memfd_create``) that the other ranks open through the maker's
``/proc`` entry. So nothing is left however and whenever either process ends, and the size
of ``/dev/shm``, 64 MiB in many containers, is no limit. Where one rank may not look into
another one's ``/proc`` entry, it is a file in ``/dev/shm`` whose name is removed once all
have it.
"""

import errno
import mmap
import os
import secrets
from functools import cache
from pathlib import Path

import psutil

from vllm_hetero import shared_memory

_PROC = Path("/proc")


class SegmentError(RuntimeError):
    """The shared memory cannot be had; the message says how much and what to do."""


@cache
def unnamed() -> bool:
    """Whether ranks can open each other's anonymous files here.

    Tried on the parent process, the engine: what may look into that may look into a sibling.
    """
    try:
        os.close(os.memfd_create("vllm_hetero-probe"))
        next((_PROC / str(os.getppid()) / "fd").iterdir()).stat()
    except (OSError, StopIteration):
        return False
    return True


def free_bytes() -> int:
    """Memory that segments may take."""
    if unnamed():
        return int(psutil.virtual_memory().available)
    return shared_memory.free_bytes()


def create(size: int) -> tuple[str, mmap.mmap]:
    """Make a segment of ``size`` bytes that only this user can open.

    Its pages are touched here, so they lie on the NUMA node that the caller's memory is
    bound to.

    Returns:
        Its path, for :func:`attach` in the other process, and the mapping.

    Raises:
        SegmentError: there is no room for it.
    """
    try:
        if size > free_bytes():
            # Trying would bring the kernel's out-of-memory killer on.
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        path, descriptor = _open_new()
        try:
            # Without this, a full /dev/shm would end the process by SIGBUS at first use.
            os.posix_fallocate(descriptor, 0, size)
            mapping = mmap.mmap(descriptor, size)
        except OSError:
            remove(str(path))
            os.close(descriptor)
            raise
    except OSError as error:
        raise SegmentError(_no_room(size, error)) from error
    if not _is_unnamed(path):
        os.close(descriptor)
    # Else it stays open, for the other ranks to open; the kernel closes it with the process.
    for page in range(0, size, mmap.PAGESIZE):
        mapping[page] = 0
    return str(path), mapping


def attach(path: str, keep_name: bool = False) -> mmap.mmap:
    """Map a segment made by :func:`create` in another process, and remove its name, if any.

    From then on nothing is left to clean up, however either process ends.

    Args:
        path: What :func:`create` returned.
        keep_name: More processes are to attach; one of them calls :func:`remove` at last.

    Raises:
        SegmentError: there is no such segment.
    """
    # The /proc entry is a link by itself. A name in /dev/shm is none, unless another program put
    # one in its place.
    follow = 0 if _is_unnamed(Path(path)) else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDWR | follow)
    except OSError as error:
        raise SegmentError(f"cannot open the shared memory {path}: {error.strerror}") from error
    try:
        return mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
        if not keep_name:
            remove(path)


def remove(path: str) -> None:
    """Remove a segment's name, if it has one; the mappings stay."""
    if not _is_unnamed(Path(path)):
        Path(path).unlink(missing_ok=True)


def _open_new() -> tuple[Path, int]:
    name = f"vllm_hetero-{secrets.token_hex(16)}"
    if unnamed():
        descriptor = os.memfd_create(name)
        # By itself everybody's who gets to the /proc entry.
        os.fchmod(descriptor, 0o600)
        return _PROC / str(os.getpid()) / "fd" / str(descriptor), descriptor
    path = shared_memory.FOLDER / name
    return path, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)


def _is_unnamed(path: Path) -> bool:
    return path.is_relative_to(_PROC)


def _no_room(size: int, error: OSError) -> str:
    needs = f"ranks need {size / 2**20:.0f} MiB of shared memory between them, but"
    free = f"{free_bytes() / 2**20:.0f} MiB"
    if unnamed():
        return f"{needs} {free} of memory are free ({error.strerror}); use a smaller model or batch"
    return (
        f"{needs} /dev/shm has {free} free ({error.strerror}); enlarge it (docker run "
        "--shm-size, or --ipc=host), or set VLLM_HETERO_HOP=gloo"
    )
