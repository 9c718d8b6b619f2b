"""What the benchmark needs of a server process. :mod:`hetctl.launch` has the real one."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hetctl.bench.results import Configuration


class Server(Protocol):
    """One engine, started and stopped once."""

    @property
    def base_url(self) -> str: ...

    @property
    def pid(self) -> int | None:
        """The process that leads the server's session; None before it starts."""

    def start(self) -> None:
        """Start the process.

        Raises:
            LaunchError: it cannot be started.
        """

    def wait_ready(self, timeout_s: float, on_progress: Callable[[str], None]) -> None:
        """Return when requests are answered; ``on_progress`` hears what it is doing.

        Raises:
            LaunchError: the process died, or ``timeout_s`` passed.
        """

    def require_alive(self) -> None:
        """Return if the server still runs.

        Raises:
            LaunchError: it died; the message has its reason.
        """

    def stop(self) -> None:
        """End the process and free its devices; does nothing if it is not running."""


ServerFactory = Callable[[Configuration, Path], Server]
"""Makes the server of a configuration, not yet started; its output goes to the given log file."""
