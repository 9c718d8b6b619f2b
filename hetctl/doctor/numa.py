"""NUMA: the library, and whether the kernel lets this process bind its memory."""

import ctypes
import errno
import mmap
import os
import shutil
from collections.abc import Callable

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, skipped, warned
from hetctl.machine import NumaNode

_SYSCALLS = {
    # mbind, set_mempolicy, get_mempolicy
    "x86_64": (237, 238, 239),
    "aarch64": (235, 237, 236),
}
_MPOL_BIND = 2
_MPOL_F_NODE, _MPOL_F_ADDR = 1, 2
_NODE_BITS = 1024
_ALLOW = (
    "Start the container with the capability SYS_NICE (docker run --cap-add SYS_NICE; Kubernetes: "
    "securityContext.capabilities.add), which Docker's default seccomp profile asks for."
)


Call = Callable[[tuple[int, int, int], NumaNode], int]
"""A way to bind memory to a node; gives the error number, 0 for success."""


def library(surroundings: Surroundings) -> Outcome:
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        return failed(
            "libnuma.so.1 is missing, which vLLM's CPU kernels link",
            "Install libnuma1 (Debian, Ubuntu) or numactl-libs (Fedora, RHEL).",
        )
    numactl = shutil.which("numactl", path=surroundings.environment.get("PATH"))
    return passed(f"libnuma.so.1; numactl is {numactl or 'not installed, and not needed'}")


def set_mempolicy(surroundings: Surroundings) -> Outcome:
    """Really tried. The policy is that of this check's own thread and ends with it."""
    return _tried(surroundings, "set_mempolicy", _set_mempolicy)


def mbind(surroundings: Surroundings) -> Outcome:
    """Really tried, on a page of its own, and looked where the page then lies."""
    return _tried(surroundings, "mbind", _mbind)


def _tried(surroundings: Surroundings, name: str, call: Call) -> Outcome:
    numbers = _SYSCALLS.get(surroundings.machine.cpu.architecture)
    nodes = [node for node in surroundings.machine.numa_nodes if node.memory_total_bytes]
    if numbers is None or not nodes:
        return skipped("CPU ranks do not run here")
    for node in nodes:
        error = call(numbers, node)
        if error:
            return _refused(name, node, error, several=len(nodes) > 1)
    ids = ", ".join(str(node.id) for node in nodes)
    return passed(f"memory was bound to node{'s' if len(nodes) > 1 else ''} {ids}")


def _refused(name: str, node: NumaNode, error: int, several: bool) -> Outcome:
    detail = f"{name} for node {node.id}: {os.strerror(error)}"
    if error in (errno.ENOSYS, errno.EOPNOTSUPP):
        return warned(
            f"{detail}: the kernel knows no NUMA (gVisor, or built without)",
            "Run under a kernel with NUMA where the machine has several nodes.",
        )
    remedy = (
        _ALLOW
        if error == errno.EPERM
        else f"Let the cgroup's cpuset.mems include node {node.id} (docker run --cpuset-mems)."
    )
    if several:
        return failed(f"{detail}: weights of a CPU rank may lie on the other socket", remedy)
    return warned(f"{detail}; with one node it costs nothing", remedy)


def _set_mempolicy(numbers: tuple[int, int, int], node: NumaNode) -> int:
    mask = _mask(node.id)
    return _syscall(numbers[1], _MPOL_BIND, ctypes.addressof(mask), _NODE_BITS + 1)


def _mbind(numbers: tuple[int, int, int], node: NumaNode) -> int:
    mask = _mask(node.id)
    with mmap.mmap(-1, mmap.PAGESIZE) as page:
        view = ctypes.c_char.from_buffer(page)
        address = ctypes.addressof(view)
        error = _syscall(
            numbers[0],
            address,
            mmap.PAGESIZE,
            _MPOL_BIND,
            ctypes.addressof(mask),
            _NODE_BITS + 1,
            0,
        )
        page[0] = 1
        lies_on = ctypes.c_int(-1)
        flags = _MPOL_F_NODE | _MPOL_F_ADDR
        error = error or _syscall(numbers[2], ctypes.addressof(lies_on), 0, 0, address, flags)
        del view
    return error or (0 if lies_on.value == node.id else errno.EOPNOTSUPP)


def _mask(node: int) -> "ctypes.Array[ctypes.c_ulong]":
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = (ctypes.c_ulong * (_NODE_BITS // bits))()
    mask[node // bits] = 1 << node % bits
    return mask


def _syscall(number: int, *arguments: int) -> int:
    """The error number, or 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(argument) for argument in (number, *arguments)]
    return ctypes.get_errno() if libc.syscall(*words) == -1 else 0


_GROUP = "NUMA"
CHECKS = (
    Check(_GROUP, "libnuma", library),
    Check(_GROUP, "set_mempolicy", set_mempolicy),
    Check(_GROUP, "mbind", mbind),
)
