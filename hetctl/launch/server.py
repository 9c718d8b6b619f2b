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
from hetctl.launch import api_key
from hetctl.launch.command import LaunchCommand
from hetctl.launch.gpu_lock import GpuLocks, gpu_names
from hetctl.launch.output import OneFile, Output
from hetctl.launch.parent_death import end_with_parent
from hetctl.launch.port import listening_processes
from hetctl.launch.process_tree import ProcessTree
from hetctl.launch.run_folder import RunFolder
from hetctl.launch.spare_cpus import bind_api_server
from hetctl.launch.startup import cause, phase, tail
from vllm_hetero import env
from vllm_hetero.http.draining import MARK

_POLL_S = 0.5
_STOP_POLL_S = 0.05
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
    # Whoever starts a server says which key it has: its own clients, a benchmark, have none.
    api_key.VARIABLE,
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
        was_ready: Whether it has answered.
    """

    def __init__(
        self,
        command: LaunchCommand,
        log_path: Path,
        *,
        output: Output | None = None,
        key: str | None = None,
        share_gpus: bool = False,
    ) -> None:
        """
        Args:
            output: Writes ``log_path``; by default :class:`~hetctl.launch.output.OneFile`.
            key: What the server asks its clients for; in no command line and no log.
            share_gpus: Whether to use GPUs that another server of hetctl uses.
        """
        self.command = command
        self.log_path = log_path
        self._output = output or OneFile(log_path)
        self._key = key
        self._share_gpus = share_gpus
        self.memory_report = memory_report_of(log_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._folder: RunFolder | None = None
        self._gpus = GpuLocks()
        self.was_ready = False

    @property
    def base_url(self) -> str:
        return self.command.base_url

    @property
    def local_url(self) -> str:
        """Where this machine reaches it, also if it listens on every address."""
        return self.base_url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server; returns at once.

        Raises:
            LaunchError: the log file cannot be written or the program cannot be run.
            HetctlError: another server of hetctl uses one of the GPUs.
        """
        if self.command.gpus and not self._share_gpus:
            self._gpus.acquire(self.command.gpus, gpu_names())
        # Sockets, temporary files and the ranks' last words go where stop() removes them.
        self._folder = RunFolder()
        try:
            # What an earlier server held must not pass for this one's.
            self.memory_report.unlink(missing_ok=True)
            self._process = subprocess.Popen(
                self.command.argv,
                env=self._environment(self._folder.path),
                stdin=subprocess.DEVNULL,
                stdout=self._output.open(),
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self._folder.lock, *self._gpus.descriptors),
                preexec_fn=end_with_parent(),
            )
        except OSError as error:
            self._folder.remove()
            self._gpus.release()
            raise LaunchError(f"Cannot start the server: {error}.") from error
        finally:
            self._output.started()
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
        while not self.answers():
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
        self.was_ready = True
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

    def stop(
        self,
        *,
        drain_s: float = 0.0,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        """End the server and clean up; does nothing if it was never started.

        Args:
            drain_s: Longest time in seconds that running requests have to be answered, as its
                command was told; new ones are refused. Nothing drains while it starts.
            hurry: Asked all the time; once it says so, nothing is waited for any more.
        """
        if self._process is None or self._tree is None or self._folder is None:
            return
        self._tree.observe()
        if self.was_ready and drain_s:
            with contextlib.suppress(OSError):
                (self._folder.path / MARK).touch()
        self._tree.signal(signal.SIGTERM)
        grace_s = drain_s + STOP_GRACE_S if self.was_ready else _START_GRACE_S
        deadline = time.monotonic() + grace_s
        while self._process.poll() is None and time.monotonic() < deadline and not hurry():
            time.sleep(_STOP_POLL_S)
        self._tree.end(grace_s=0.0 if hurry() else 2.0)
        self._process.wait()
        self._output.close()
        self._folder.remove()
        self._gpus.release()
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
        keys = {api_key.VARIABLE: self._key} if self._key else {}
        return {**kept, **inherited, **own, **self.command.env, **keys}

    def answers(self) -> bool:
        """Whether the server runs and says, within 2 s, that it can serve requests."""
        if self.poll() is not None:
            return False
        try:
            with _DIRECT.open(f"{self.local_url}/health", timeout=2) as answer:
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

    def _obituary(self, what: str) -> str:
        code = self._process.returncode if self._process else None
        self._output.drained()
        why = cause(tail(self.log_path))
        said = f": {why.rstrip('.')}" if why else f" (exit code {code})"
        return f"The server {what}{said}; its log is {self.log_path}."
