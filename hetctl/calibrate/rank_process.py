"""One measuring process: started like a rank, asked by lines of JSON."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hetctl.errors import HetctlError
from hetctl.launch.parent_death import end_with_parent
from hetctl.launch.process_tree import ProcessTree
from vllm_hetero import env
from vllm_hetero.kernel_oom import OomKills
from vllm_hetero.rank_environment import RankEnvironment

PROGRAM = (sys.executable, "-m", "vllm_hetero.calibration")
"""The rank's number is added, and whether it needs the kernels."""
WITH_KERNELS = "--kernels"

_GRACE_S = 2.0


class MeasurementError(HetctlError):
    """A measurement failed; the message is the reason."""


class RankProcess:
    """A process on one device.

    Args:
        name: For messages: ``cuda:0``, ``node 0``.
        rank: Its rank in the environment's rank map.
        variables: Of its environment, besides those of its rank.
        log: File for what it prints.
        kernels: Whether it loads vLLM's kernels at its start; where it cannot, it starts without.
    """

    def __init__(
        self,
        name: str,
        rank: int,
        environment: RankEnvironment,
        variables: Mapping[str, str],
        log: Path,
        kernels: bool = True,
    ) -> None:
        self.name = name
        self._rank = rank
        self._environment = environment
        self._variables = variables
        self._log = log
        self._arguments = (str(rank), WITH_KERNELS) if kernels else (str(rank),)
        self._process: subprocess.Popen[bytes] | None = None
        self._tree: ProcessTree | None = None
        self._ready = False
        self._unable: str | None = None
        self._read = b""
        self._oom_kills = OomKills()

    def start(self) -> None:
        """Start the process, if it does not run; returns at once."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        with (
            self._log.open("wb") as log,
            self._environment.configure_omp_envs(self._rank, self._rank),
        ):
            self._process = subprocess.Popen(
                [*PROGRAM, *self._arguments],
                env={**os.environ, env.PLATFORM: "1", **self._variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        self._tree = ProcessTree(self._process.pid)
        self._ready, self._read = False, b""

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until it takes commands.

        Raises:
            MeasurementError: it ended, or was not ready in time, now or before: it is not tried
                again.
        """
        if self._unable is not None:
            raise MeasurementError(self._unable)
        self.start()
        if not self._ready:
            try:
                self.receive(timeout_s, "starting")
            except MeasurementError as error:
                self._unable = str(error)
                raise
            self._ready = True

    def send(self, command: Mapping[str, Any]) -> None:
        """Give it a command, or a word that it waits for.

        Raises:
            MeasurementError: it has ended.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended("taking a command") from None

    def receive(self, timeout_s: float, doing: str) -> dict[str, Any]:
        """Its next answer.

        Args:
            doing: For messages: ``measuring the memory read rate``.

        Raises:
            MeasurementError: it says that it failed, ended, or did not answer in time; then
                it is stopped.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._read:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.stop()
                raise MeasurementError(f"no answer within {timeout_s:.0f} s of {doing}")
            if select.select([self._process.stdout], [], [], left_s)[0]:
                part = os.read(self._process.stdout.fileno(), 1 << 16)
                if not part:
                    raise self._ended(doing)
                self._read += part
        line, _, self._read = self._read.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            reason = answer["error"]
            if "CUDA" in reason and "out of memory" not in reason:
                # Such an error stays with the process.
                self.stop()
            raise MeasurementError(reason)
        return answer

    def stop(self) -> None:
        """End it; does nothing if it does not run."""
        if self._process is None or self._tree is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # A command that it did not take.
                    pipe.close()
        self._tree.signal(signal.SIGTERM)
        self._tree.end(_GRACE_S)
        self._process.wait()
        self._process = self._tree = None

    def _ended(self, doing: str) -> MeasurementError:
        assert self._process is not None
        code = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        if code < 0:
            name = signal.Signals(-code).name
            why = " as memory ran out" if self._oom_kills.since() else ""
            return MeasurementError(f"its process was ended by {name}{why} while {doing}")
        return MeasurementError(f"its process ended with code {code} while {doing}{last}")
