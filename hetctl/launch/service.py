"""A server that is kept running: watched, started again where that is wanted, and drained."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from hetctl.errors import LaunchError
from hetctl.launch.notify import Notifier
from hetctl.launch.restarts import Restarts
from hetctl.launch.server import Server

WATCH_S = 1.0
HEALTH_EVERY_S = 5.0
_PAUSE_POLL_S = 0.2


class Voice(Protocol):
    """Tells whoever started the service how it is doing."""

    def waiting(self) -> AbstractContextManager[Callable[[str], None]]:
        """While it starts; yields what is told of each phase."""

    def ready(self, server: Server) -> None:
        """Requests are answered."""

    def failed(self, error: LaunchError, pause_s: float) -> None:
        """It failed, and is started again after a pause."""

    def draining(self, seconds: int) -> None:
        """The end was asked for; running requests have this long."""


class End(Protocol):
    """Somebody who may ask for the end; the signals of a command."""

    def waiting(self) -> AbstractContextManager[None]:
        """Raises KeyboardInterrupt in the block once the end is asked for."""

    def again(self) -> bool:
        """Whether it was asked for more than once."""


@dataclass(frozen=True)
class Terms:
    """How long a service waits for what, in seconds, and how often it tries."""

    start_timeout_s: float = 1800.0
    drain_timeout_s: int = 30
    health_timeout_s: float = 120.0
    """0 for no limit."""
    restart: bool = False
    restart_limit: int = 5


class Service:
    """Runs servers of one kind after one another until the end is asked for."""

    def __init__(
        self,
        new_server: Callable[[], Server],
        published: Callable[[Server], AbstractContextManager[None]],
        terms: Terms,
        voice: Voice,
        end: End,
    ) -> None:
        """
        Args:
            new_server: Makes a server that was not started yet.
            published: Lets other commands find a ready server while a block runs.
        """
        self._new_server = new_server
        self._published = published
        self._terms = terms
        self._voice = voice
        self._end = end
        self._restarts = Restarts(terms.restart_limit)
        self._notifier = Notifier()
        self._was_ready = False

    def run(self) -> None:
        """Returns once the end was asked for and reached.

        Raises:
            LaunchError: the server failed, and is not started again.
        """
        try:
            while True:
                self._run_until_failure()
        except KeyboardInterrupt:
            return

    def _run_until_failure(self) -> None:
        """Run one server, and wait after its failure for the time of the next.

        Raises:
            KeyboardInterrupt: the end was asked for.
            LaunchError: it failed for good.
        """
        ready_at = None
        try:
            with self._started() as server:
                ready_at = time.monotonic()
                self._notifier.ready()
                self._voice.ready(server)
                self._watch(server)
        except LaunchError as error:
            if not self._terms.restart or not self._was_ready:
                raise
            was_ready_s = time.monotonic() - ready_at if ready_at is not None else 0.0
            pause_s = self._restarts.pause_s(was_ready_s)
            if pause_s is None:
                raise LaunchError(
                    f"{str(error).rstrip('.')}; it failed {self._restarts.failures} times in a "
                    f"row, and --restart-limit is {self._terms.restart_limit}."
                ) from error
            self._notifier.status(f"failed, starts again in {pause_s:.0f} s: {error}")
            self._voice.failed(error, pause_s)
            self._pause(pause_s)

    @contextmanager
    def _started(self) -> Iterator[Server]:
        """A server from when it is ready; ended afterwards, with time to drain if asked to end."""
        server = self._new_server()
        server.start()
        try:
            with self._end.waiting(), self._voice.waiting() as say:
                self._notifier.status("starting")
                server.wait_ready(self._terms.start_timeout_s, self._telling(say))
            self._was_ready = True
            with self._published(server):
                yield server
        except KeyboardInterrupt:
            self._notifier.stopping()
            self._stop_in_order(server)
            raise
        finally:
            server.stop()

    def _telling(self, say: Callable[[str], None]) -> Callable[[str], None]:
        def tell(phase: str) -> None:
            self._notifier.alive()
            say(phase)

        return tell

    def _stop_in_order(self, server: Server) -> None:
        drain_s = self._terms.drain_timeout_s
        if drain_s and server.was_ready:
            self._voice.draining(drain_s)
        server.stop(drain_s=drain_s, hurry=self._end.again)

    def _watch(self, server: Server) -> None:
        """Look after a ready server until it fails or the end is asked for.

        Raises:
            KeyboardInterrupt: the latter.
            LaunchError: it died, or has not answered for too long.
        """
        with self._end.waiting():
            answered = looked = time.monotonic()
            while True:
                server.require_alive()
                self._notifier.alive()
                if time.monotonic() - looked >= HEALTH_EVERY_S:
                    if server.answers():
                        answered = time.monotonic()
                    looked = time.monotonic()
                silent_s = time.monotonic() - answered
                if self._terms.health_timeout_s and silent_s > self._terms.health_timeout_s:
                    raise LaunchError(
                        f"The server has not answered /health for {silent_s:.0f} s: its API "
                        f"process hangs or is overloaded; see {server.log_path}, or allow more "
                        "with --health-timeout."
                    )
                time.sleep(WATCH_S)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._end.waiting():
            while time.monotonic() < until:
                self._notifier.alive()
                time.sleep(_PAUSE_POLL_S)
