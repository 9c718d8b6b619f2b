"""Binds memory to NUMA nodes, page by page, whichever thread touches it first."""

import ctypes
import os

_MPOL_BIND = 2
_NODES = 1024


def bind_pages(address: int, size: int, node: int) -> None:
    """Let the pages of a mapping that nothing has touched yet come from ``node``.

    Args:
        address: Start of the mapping, on a page.
        size: Bytes.

    Raises:
        OSError: libnuma is not installed, or the kernel or the container refuses.
    """
    try:
        numa = ctypes.CDLL("libnuma.so.1", use_errno=True)
    except OSError as error:
        raise OSError("memory cannot be bound to a NUMA node: libnuma is not installed") from error
    words = (ctypes.c_ulong * (_NODES // 64))()
    words[node // 64] |= 1 << node % 64
    # One more bit than there are: an old quirk of the system call.
    if numa.mbind(
        ctypes.c_void_p(address),
        ctypes.c_ulong(size),
        _MPOL_BIND,
        words,
        ctypes.c_ulong(_NODES + 1),
        ctypes.c_uint(0),
    ):
        reason = os.strerror(ctypes.get_errno())
        raise OSError(f"memory cannot be bound to NUMA node {node}: {reason}")
