"""Runs the load generator once against a running server."""

import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hetctl.bench.load_command import load_argv, load_environment
from hetctl.bench.load_progress import LoadProgress, LoadProgressReader
from hetctl.bench.results import Load, Measurement
from hetctl.bench.vllm_result import read_measurement
from hetctl.errors import HetctlError
from hetctl.launch.parent_death import end_with_parent
from vllm_hetero.affinity import children_bound_to

_POLL_S = 0.5
_GRACE_S = 5.0
_TAIL_LINES = 30


@dataclass(frozen=True)
class LoadTarget:
    """The server to load, and the files that the run leaves."""

    base_url: str
    served_name: str
    tokenizer: str
    """Folder or hub id of the model's tokenizer."""
    result_file: Path
    log_file: Path
    requests_file: Path | None = None
    """The requests, where the load's dataset is a file of them."""
    cpus: frozenset[int] = frozenset()
    """Where the generator runs; empty leaves it to the kernel."""


def run_load(
    load: Load,
    target: LoadTarget,
    on_progress: Callable[[LoadProgress], None],
    timeout_s: float,
) -> Measurement:
    """Send the load and read what came of it.

    Raises:
        HetctlError: the generator failed or ran past ``timeout_s``, or no request succeeded.
    """
    argv = load_argv(
        load,
        base_url=target.base_url,
        served_name=target.served_name,
        tokenizer=target.tokenizer,
        result_file=target.result_file,
        requests_file=target.requests_file,
    )
    target.result_file.parent.mkdir(parents=True, exist_ok=True)
    target.log_file.parent.mkdir(parents=True, exist_ok=True)
    # A result of an earlier run must not pass for this one's.
    target.result_file.unlink(missing_ok=True)
    with children_bound_to(target.cpus):
        process = subprocess.Popen(
            argv,
            env=load_environment(os.environ, target.tokenizer),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is ours to handle; we end the generator.
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )
    try:
        with target.log_file.open("wb") as log:
            _follow(process, log, LoadProgressReader(on_progress), timeout_s)
    finally:
        _end(process)
    if process.returncode != 0:
        raise HetctlError(
            f"The load generator ended with exit code {process.returncode}: "
            f"{_last_line(target.log_file)} (see {target.log_file})."
        )
    return read_measurement(target.result_file)


def _follow(
    process: subprocess.Popen[bytes],
    log: IO[bytes],
    reader: LoadProgressReader,
    timeout_s: float,
) -> None:
    """Copy the output to the log and the progress reader until the process closes it."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise HetctlError(
                    f"The load was not answered within {timeout_s:.0f} s; raise --load-timeout "
                    "or send fewer prompts."
                )
            if not selector.select(min(left_s, _POLL_S)):
                continue
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            log.write(piece)
            log.flush()
            reader.feed(decode(piece))
    # The output may close a moment before the process ends.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process of the generator's group behind."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _last_line(log_file: Path) -> str:
    with log_file.open(encoding="utf-8", errors="replace") as log:
        lines = [line.strip() for line in deque(log, _TAIL_LINES) if line.strip()]
    return lines[-1] if lines else "it printed nothing"
