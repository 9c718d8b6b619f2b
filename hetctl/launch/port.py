"""Network addresses that a server will listen on."""

import socket

import psutil

from hetctl.errors import HetctlError, UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""


def require_free_port(host: str, port: int) -> None:
    """Raise unless a server could listen on ``host:port`` now.

    Raises:
        UsageError: the host is not an address of this machine.
        HetctlError: the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"Host {host!r} is not an address of this machine.") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except PermissionError as error:
            raise HetctlError(
                f"Port {port} needs privileges that this user lacks; choose one above 1023 "
                "with --port."
            ) from error
        except OSError as error:
            raise HetctlError(
                f"Port {port} on {host} cannot be used ({error.strerror}); stop what holds it "
                "or choose another with --port."
            ) from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def listening_processes(port: int) -> set[int | None]:
    """Who listens on ``port``, at any address: process ids, None for one of another user.

    Empty where the system does not tell.
    """
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return set()
    return {
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,)
    }
