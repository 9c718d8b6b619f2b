"""When a rank fails, the server ends soon, says which rank and why, and leaves nothing."""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hetctl.launch.run_folder import RunFolder
from tests.e2e.engine import ServeProcess, left_behind, shared_memory
from tests.e2e.rank_plugin import rank_plugin
from vllm_hetero.remedy import MEMORY

pytestmark = pytest.mark.engine

OPTIONS = ("--split 2,6 --max-model-len 512 --concurrency 4 --input-len 64 --output-len 32",)

END_S = 10
"""The longest that a server may live after one of its ranks died."""

# A rank of the last stage runs out of GPU memory, as torch says it.
OUT_OF_GPU_MEMORY = """
import torch
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
original = CPUModelRunner.execute_model
def execute_model(self, *args, **kwargs):
    from vllm.distributed import get_pp_group
    if get_pp_group().is_last_rank and armed():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return original(self, *args, **kwargs)
CPUModelRunner.execute_model = execute_model
"""

# The first stage asks for more memory than there is addresses for.
OUT_OF_CPU_MEMORY = """
import torch
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
original = CPUModelRunner.load_model
def load_model(self, *args, **kwargs):
    from vllm.distributed import get_pp_group
    if get_pp_group().is_first_rank:
        torch.empty(1 << 50)
    return original(self, *args, **kwargs)
CPUModelRunner.load_model = load_model
"""

# One of the ranks stops itself before it has a worker.
STOPS_AT_START = """
import os, signal
try:
    Path({marker!r}).touch(exist_ok=False)
except FileExistsError:
    return
os.kill(os.getpid(), signal.SIGSTOP)
"""


class Leftovers:
    """What was there before the server, to tell what it leaves."""

    def __init__(self, folder: Path) -> None:
        self._shared_memory = shared_memory()
        self._folder = folder
        self.env = {"TMPDIR": str(folder)}
        """Gives the server a folder of its own for temporary files."""

    def of(self, server: ServeProcess) -> list[str]:
        left = left_behind(server, self._shared_memory)
        left += [f"file {path}" for path in self._folder.iterdir()]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", server.port))
            except OSError as error:
                left.append(f"port {server.port}: {error}")
        return left


@pytest.fixture
def before() -> Iterator[Leftovers]:
    # Not pytest's own folder: the path of a socket may have 107 characters.
    with tempfile.TemporaryDirectory() as folder:
        yield Leftovers(Path(folder))


class Request:
    """A long request, sent from a thread; it must be answered with an error."""

    def __init__(self, server: ServeProcess) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._send, args=(server,))
        self._thread.start()

    def _send(self, server: ServeProcess) -> None:
        try:
            self.outcome = server.complete([1, 2, 3], 480)
        except urllib.error.HTTPError as error:
            self.outcome = error.code
        except OSError as error:
            self.outcome = error

    def status(self) -> Any:
        """The HTTP status of the error; waits for it."""
        self._thread.join(60)
        assert not self._thread.is_alive(), "the request hangs"
        return self.outcome


def wait_for_end(server: ServeProcess, seconds: float) -> tuple[int, str]:
    """Exit code and stderr."""
    _, said = server.process.communicate(timeout=seconds)
    return server.process.returncode, said


def last_line(said: str) -> str:
    return said.strip().splitlines()[-1]


def test_a_rank_that_raises_ends_the_server_with_its_own_error(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    plugin = rank_plugin(tmp_path, OUT_OF_GPU_MEMORY)
    env = before.env | plugin.env | {"VLLM_SERVER_DEV_MODE": "1"}
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log", env) as server:
        first = server.complete([1, 2, 3], 4)
        # A call that all ranks refuse is answered, and leaves no reply for the next one.
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.post("/collective_rpc", {"method": "no_such_method"})
        assert refused.value.code == 500
        assert server.complete([1, 2, 3], 4) == first
        plugin.trigger.touch()
        assert Request(server).status() == 500
        code, said = wait_for_end(server, END_S)
    assert code == 1
    message = "Rank 1 (cpu) failed in execute_model: OutOfMemoryError: CUDA out of memory. Tried"
    assert message in last_line(said)
    assert MEMORY in last_line(said)
    assert before.of(server) == []


@pytest.mark.parametrize(("rank", "at_work"), [(0, True), (1, False)], ids=["at work", "idle"])
def test_a_rank_that_is_killed_ends_the_server(
    demo_model: Path, tmp_path: Path, before: Leftovers, rank: int, at_work: bool
) -> None:
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log", before.env) as server:
        request = Request(server) if at_work else None
        time.sleep(0.3)
        killed = time.monotonic()
        server.ranks()[rank].kill()
        if request is not None:
            assert request.status() == 500
        code, said = wait_for_end(server, END_S - (time.monotonic() - killed))
    assert code == 1
    assert f"The server died: Rank {rank} (cpu) was killed by SIGKILL" in last_line(said)
    assert MEMORY in last_line(said)
    assert before.of(server) == []


def test_a_rank_that_is_stopped_ends_the_server_after_the_timeout(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    env = before.env | {"VLLM_HETERO_STALL_TIMEOUT_S": "5"}
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log", env) as server:
        server.ranks()[0].send_signal(signal.SIGSTOP)
        # Nothing is asked of it yet, so nothing hangs.
        time.sleep(7)
        assert server.process.poll() is None
        assert Request(server).status() == 500
        code, said = wait_for_end(server, 60)
    assert code == 1
    assert re.search(
        r"Rank 0 \(cpu\) stalled in execute_model for \d+ s: its process is stopped .*; "
        r"leave it running \(kill -CONT continues it\), or raise VLLM_HETERO_STALL_TIMEOUT_S",
        last_line(said),
    )
    assert before.of(server) == []


def test_a_rank_that_runs_out_of_memory_while_loading_is_named(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    plugin = rank_plugin(tmp_path, OUT_OF_CPU_MEMORY)
    server = ServeProcess(demo_model, OPTIONS, tmp_path / "log", before.env | plugin.env)
    said = last_line(server.start_and_fail())
    assert "The server did not start: Rank 0 (cpu) failed in load_model: RuntimeError" in said
    assert "can't allocate memory: you tried to allocate 4503599627370496 bytes" in said
    assert MEMORY in said
    assert before.of(server) == []


def test_a_rank_that_never_starts_is_named(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    plugin = rank_plugin(tmp_path, STOPS_AT_START.format(marker=str(tmp_path / "stopped")))
    env = before.env | plugin.env | {"VLLM_HETERO_STALL_TIMEOUT_S": "5"}
    server = ServeProcess(demo_model, OPTIONS, tmp_path / "log", env)
    said = last_line(server.start_and_fail())
    assert re.search(
        r"The server did not start: Rank [01] \(cpu\) did not start: its process is stopped .*; "
        r"leave it running \(kill -CONT continues it\), or raise VLLM_HETERO_STALL_TIMEOUT_S",
        said,
    )
    assert before.of(server) == []


def test_a_full_dev_shm_is_refused_before_anything_starts(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    # A /dev/shm of its own, so that nobody else's is filled.
    own = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=9m tmpfs /dev/shm && exec "$@"',
    )
    if shutil.which("unshare") is None or subprocess.run([*own, "sh", "true"]).returncode:
        pytest.skip("mounting needs privileges")
    server = ServeProcess(demo_model, OPTIONS, tmp_path / "log", before.env)
    said = last_line(server.start_and_fail(under=(*own, "sh")))
    assert "/dev/shm has 9 MiB free, but the queues of 2 ranks need 12 MiB; remove files" in said
    assert before.of(server) == []


def test_hetctl_and_the_engine_killed_at_once_leave_no_process(
    demo_model: Path, tmp_path: Path, before: Leftovers
) -> None:
    with ServeProcess(demo_model, OPTIONS, tmp_path / "log", before.env) as server:
        engine = server.ranks()[0].parent()
        assert engine is not None
        # A rank that is busy does not see that its engine is gone.
        server.ranks()[1].send_signal(signal.SIGSTOP)
        server.process.kill()
        engine.kill()
        server.ranks()[1].send_signal(signal.SIGCONT)
        server.process.wait(10)
        deadline = time.monotonic() + 40
        while left := left_behind(server, shared_memory()):
            assert time.monotonic() < deadline, left
            time.sleep(0.5)
    # The next server that starts removes the folder of the killed one.
    RunFolder(Path(before.env["TMPDIR"])).remove()
    assert before.of(server) == []
