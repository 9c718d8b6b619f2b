"""A running ``vllm serve``: started, watched and ended as one thing."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from hetctl.cache import cache_folder
from hetctl.errors import LaunchError
from hetctl.launch.command import LaunchCommand
from hetctl.launch.parent_death import end_with_parent
from hetctl.launch.port import listening_processes
from hetctl.launch.process_tree import ProcessTree
from hetctl.launch.run_folder import RunFolder
from hetctl.launch.spare_cpus import bind_api_server
from hetctl.launch.startup import cause, phase, tail
from vllm_hetero import env

_POLL_S = 0.5
STOP_GRACE_S = 30.0
_START_GRACE_S = 5.0
"""For a server that was not ready yet: nobody waits for an answer of it, and vLLM does not always
heed SIGTERM while it starts."""
# A proxy that the environment names is not for this machine's own addresses.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What a shell may still hold of another launch; it would turn a GPU-only server into a mixed one.
_FROM_OTHER_LAUNCHES = {
    env.PLATFORM,
    env.RANK_MAP,
    env.ROLE,
    env.RUN_DIR,
    env.METRICS_DIR,
    "VLLM_PP_LAYER_PARTITION",
}


def memory_report_of(log_path: Path) -> Path:
    """The file beside a server's log that tells what each rank holds."""
    return log_path.with_suffix(".memory.json")


class Server:
    """One server process and the ranks below it.

    Use it as a context manager: however the block ends, no process, shared memory or
    temporary file stays behind. Everything that the server prints goes to ``log_path``.

    Attributes:
        memory_report: Where the engine says what each rank holds, once it is ready; beside the
            log (:mod:`vllm_hetero.rank_memory`).
    """

    def __init__(self, command: LaunchCommand, log_path: Path) -> None:
        self.command = command
        self.log_path = log_path
        self.memory_report = memory_report_of(log_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._folder: RunFolder | None = None
        self._was_ready = False

    @property
    def base_url(self) -> str:
        return self.command.base_url

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server; returns at once.

        Raises:
            LaunchError: the log file cannot be written or the program cannot be run.
        """
        # Sockets, temporary files and the ranks' last words go where stop() removes them.
        self._folder = RunFolder()
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            # What an earlier server held must not pass for this one's.
            self.memory_report.unlink(missing_ok=True)
            with self.log_path.open("wb") as log:
                self._process = subprocess.Popen(
                    self.command.argv,
                    env=self._environment(self._folder.path),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(self._folder.lock,),
                    preexec_fn=end_with_parent(),
                )
        except OSError as error:
            self._folder.remove()
            raise LaunchError(f"Cannot start the server: {error}.") from error
        self._tree = ProcessTree(self._process.pid)

    def wait_ready(
        self, timeout_s: float, on_progress: Callable[[str], None] = lambda phase: None
    ) -> None:
        """Wait until the server answers ``/health``.

        Args:
            timeout_s: Longest wait, in seconds.
            on_progress: Called about twice a second with what the server is doing.

        Raises:
            LaunchError: the server ended, with its reason, or was not ready in time, with
                what it was doing; or another server answers on its port.
        """
        deadline = time.monotonic() + timeout_s
        while not self._healthy():
            if self.poll() is not None:
                raise LaunchError(self._obituary("did not start"))
            doing = phase(tail(self.log_path))
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"The server was not ready after {timeout_s:.0f} s (it was {doing}); see "
                    f"{self.log_path}, or allow more with --start-timeout."
                )
            on_progress(doing)
            time.sleep(_POLL_S)
        self._require_own_port()
        self._was_ready = True
        assert self._process is not None
        bind_api_server(self._process.pid, self.command)

    def poll(self) -> int | None:
        """The exit code of the server, or None while it runs."""
        if self._process is None:
            return None
        if self._tree is not None and self._process.returncode is None:
            self._tree.observe()
        return self._process.poll()

    def require_alive(self) -> None:
        """Raise :class:`~hetctl.errors.LaunchError`, with the reason, if the server died."""
        if self.poll() is not None:
            raise LaunchError(self._obituary("died"))

    def send_signal(self, number: signal.Signals) -> None:
        """Pass a signal on to the server."""
        if self._tree is not None:
            self._tree.signal(number)

    def stop(self, grace_s: float | None = None) -> None:
        """End the server and clean up; does nothing if it was never started.

        Args:
            grace_s: Seconds that it has to end by itself; by default 30, or 5 while it starts.
        """
        if self._process is None or self._tree is None or self._folder is None:
            return
        self._tree.observe()
        self._tree.signal(signal.SIGTERM)
        if grace_s is None:
            grace_s = STOP_GRACE_S if self._was_ready else _START_GRACE_S
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self._tree.end(grace_s=2.0)
        self._process.wait()
        self._folder.remove()
        self._tree = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _environment(self, run_folder: Path) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k not in _FROM_OTHER_LAUNCHES}
        own = {
            "VLLM_RPC_BASE_PATH": str(run_folder),
            # A compiler that is killed, say, leaves its temporary files.
            "TMPDIR": str(run_folder),
            env.MEMORY_REPORT: str(self.memory_report),
        }
        # What torch compiles is to outlive the server. Its own choice is a name in the folder for
        # temporary files that another user can guess, and take first.
        kept = {"TORCHINDUCTOR_CACHE_DIR": str(cache_folder() / "torchinductor")}
        return {**kept, **inherited, **own, **self.command.env}

    def _healthy(self) -> bool:
        if self.poll() is not None:
            return False
        try:
            with _DIRECT.open(f"{self._local_url()}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _require_own_port(self) -> None:
        """Two servers that start at once can both get the port; the one that listens first has it.

        Raises:
            LaunchError: the one that answered is not ours.
        """
        assert self._tree is not None
        owners = listening_processes(self.command.port)
        if owners and not owners & self._tree.pids():
            raise LaunchError(
                f"Port {self.command.port} was taken by another process while the server "
                "started; stop that one or choose another port with --port."
            )

    def _local_url(self) -> str:
        """Where this machine reaches a server that listens on every address."""
        return self.base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    def _obituary(self, what: str) -> str:
        code = self._process.returncode if self._process else None
        why = cause(tail(self.log_path))
        said = f": {why.rstrip('.')}" if why else f" (exit code {code})"
        return f"The server {what}{said}; its log is {self.log_path}."
