"""Keeps two servers of hetctl from using one GPU by accident.

A lock is a listening socket with a name in Linux' abstract namespace: held by whoever has the
descriptor, gone with the last such process however it ends, and seen by all users of a network
namespace, which a file would not be. Containers have namespaces of their own and do not see each
other's. Other programs do not ask for it.
"""

import socket
import struct
from collections.abc import Mapping, Sequence

import psutil

from hetctl.errors import HetctlError

_PREFIX = "\0hetctl-gpu-"
# struct ucred of unix(7): process, user and group.
_CREDENTIALS = struct.Struct("3i")


class GpuLocks:
    """The locks of some GPUs, until they are released."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For the server to inherit: a GPU is free once hetctl and it have both ended."""
        return tuple(held.fileno() for held in self._held)

    def acquire(self, gpus: Sequence[str], names: Mapping[str, str]) -> None:
        """Take the locks of ``gpus``, or none of them.

        Args:
            gpus: Numbers in NVML's order.
            names: What identifies each on this machine, whatever its number (its UUID).

        Raises:
            HetctlError: a server has one of them, and which process that is.
        """
        try:
            for gpu in sorted(set(gpus)):
                self._held.append(_lock(gpu, _PREFIX + names.get(gpu, f"number-{gpu}")))
        except HetctlError:
            self.release()
            raise

    def release(self) -> None:
        """Give the locks back; does nothing the second time."""
        for held in self._held:
            held.close()
        self._held.clear()


def gpu_names() -> dict[str, str]:
    """The UUID of each GPU by its number; empty where NVML does not tell."""
    from hetctl.probe.gpu import GpuLibraryError
    from hetctl.probe.nvml import NvmlLibrary

    try:
        gpus = NvmlLibrary().read().gpus
    except GpuLibraryError:
        return {}
    return {str(gpu.index): gpu.uuid for gpu in gpus if gpu.uuid}


def _lock(gpu: str, address: str) -> socket.socket:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(address)
        lock.listen(1)
    except OSError as error:
        lock.close()
        raise HetctlError(
            f"GPU {gpu} is used by another server of hetctl{_holder(address)}; stop that one, name "
            "other GPUs with --devices, or let both use it with `hetctl serve --share-gpus`."
        ) from error
    return lock


def _holder(address: str) -> str:
    """Who listens at ``address``, for a sentence; empty if that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(address)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            process = psutil.Process(_CREDENTIALS.unpack(told)[0])
            return f" (process {process.pid} of user {process.username()})"
        except (OSError, psutil.Error):
            return ""
