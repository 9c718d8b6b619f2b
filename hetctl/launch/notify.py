"""Tells systemd how a service is doing (sd_notify(3)); does nothing where systemd did not ask."""

import contextlib
import os
import socket

_SOCKET = "NOTIFY_SOCKET"
_LONGEST_S = 1.0


class Notifier:
    """The service manager that started this process, if one did and wants to know.

    The address is taken out of the environment, so that no child answers in our place.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop(_SOCKET, "")

    def ready(self) -> None:
        """The service answers."""
        self._send("READY=1\nSTATUS=ready")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def alive(self) -> None:
        """Nothing hangs; at least twice per ``WatchdogSec``."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The end was asked for and has begun."""
        self._send("STOPPING=1\nSTATUS=ending")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # "@" stands for the NUL of an abstract address.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        # A manager that is gone, or does not read, must not end or hold what it manages.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(_LONGEST_S)
            out.sendto(message.encode(), address)
