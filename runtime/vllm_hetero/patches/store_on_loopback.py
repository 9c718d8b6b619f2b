"""Patch: the store in which ranks find each other listens where they look for it.

What: ``torch.distributed.rendezvous._create_c10d_store`` gives rank 0's store a socket that is
bound to the store's own address, where that is a loopback address.
Why: PyTorch's store listens on every address of the machine, whichever it is told, and asks
nobody who they are. All ranks of an engine are on one machine.
Removable when: ``TCPStore`` binds to the host name that it is given.
"""

import ipaddress
import socket
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch.distributed as dist

from vllm_hetero.patches.contract import require_parameters

_PARAMETERS = ("hostname", "port", "rank", "world_size", "timeout", "use_libuv")
_MARK = "_vllm_hetero"


def apply() -> None:
    """Replace the function; does nothing the second time."""
    # Not by `import`: the package has a function of that name.
    rendezvous: Any = import_module("torch.distributed.rendezvous")
    original = rendezvous._create_c10d_store
    if hasattr(original, _MARK):
        return
    require_parameters(original, _PARAMETERS)

    def create(
        hostname: str,
        port: int,
        rank: int,
        world_size: int,
        timeout: timedelta,
        use_libuv: bool = True,
    ) -> Any:
        # torch's older server cannot take a socket over.
        if rank != 0 or not use_libuv or not _is_loopback(hostname):
            return original(hostname, port, rank, world_size, timeout, use_libuv)
        family = socket.AF_INET6 if ":" in hostname else socket.AF_INET
        listening = socket.create_server((hostname, port), family=family, backlog=world_size + 128)
        return dist.TCPStore(
            host_name=hostname,
            port=listening.getsockname()[1],
            world_size=world_size,
            is_master=True,
            timeout=timeout,
            multi_tenant=True,
            use_libuv=True,
            master_listen_fd=listening.detach(),
        )

    setattr(create, _MARK, True)
    rendezvous._create_c10d_store = create


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
