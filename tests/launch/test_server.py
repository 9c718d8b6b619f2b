"""A server is taken as ready only when it is ours that answers."""

import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from hetctl.errors import LaunchError
from hetctl.launch import spare_cpus
from hetctl.launch.command import LaunchCommand
from hetctl.launch.port import free_port, listening_processes
from hetctl.launch.server import Server

HEALTHY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def server(code: str, port: int, log: Path) -> Server:
    argv = (sys.executable, "-c", code, str(port))
    command = LaunchCommand(argv=argv, env={}, host="127.0.0.1", port=port, model_name="m")
    return Server(command, log)


REPORTS = """
import os, pathlib, time
pathlib.Path(os.environ["VLLM_HETERO_MEMORY_REPORT"]).write_text("{}")
time.sleep(60)
"""


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_our_own_server_is_ready(tmp_path: Path) -> None:
    port = free_port()
    with server(HEALTHY, port, tmp_path / "log") as ours:
        ours.wait_ready(20)
        assert listening_processes(port) == {ours.pid}
    assert listening_processes(port) == set()


def test_it_is_bound_when_it_is_ready_and_not_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ranks start with the CPUs that it has."""
    allowed = os.sched_getaffinity(0)
    chosen = frozenset([max(allowed)])
    monkeypatch.setattr(spare_cpus, "spare_cpus", lambda _: chosen)
    with server(HEALTHY, free_port(), tmp_path / "log") as ours:
        assert ours.pid is not None
        assert os.sched_getaffinity(ours.pid) == allowed
        ours.wait_ready(20)
        assert os.sched_getaffinity(ours.pid) == chosen


def test_another_server_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    other = HTTPServer(("127.0.0.1", 0), _Healthy)
    thread = threading.Thread(target=other.serve_forever, daemon=True)
    thread.start()
    try:
        ours = server("import time; time.sleep(60)", other.server_port, tmp_path / "log")
        with ours, pytest.raises(LaunchError, match=r"Port \d+ was taken by another process"):
            ours.wait_ready(20)
    finally:
        other.shutdown()
        other.server_close()


def test_the_engine_is_told_where_to_report_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = tmp_path / "logs" / "run-1.memory.json"
    report.parent.mkdir()
    report.write_text("an earlier server's")
    ours = server(REPORTS, free_port(), Path("logs/run-1.log"))
    assert ours.memory_report.absolute() == report
    with ours:
        deadline = time.monotonic() + 20
        while not report.exists() or report.read_text() != "{}":
            assert time.monotonic() < deadline, "no report within 20 s"
            time.sleep(0.05)


LEAVES_A_FILE = """
import os, sys, tempfile, time
descriptor, path = tempfile.mkstemp(prefix="cc")
print(path, os.environ["TORCHINDUCTOR_CACHE_DIR"], flush=True)
time.sleep(60)
"""


def test_a_server_s_temporary_files_go_with_it_and_what_it_compiled_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    log = tmp_path / "log"
    with server(LEAVES_A_FILE, free_port(), log):
        deadline = time.monotonic() + 20
        while not log.read_text().strip():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        left, compiled = log.read_text().split()
        assert Path(left).is_relative_to(tmp_path)
        assert Path(left).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert compiled == str(tmp_path / "cache" / "hetctl" / "torchinductor")


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def test_a_server_that_starts_and_does_not_hear_is_soon_killed(tmp_path: Path) -> None:
    deaf = server(DEAF, free_port(), tmp_path / "log")
    with deaf:
        time.sleep(1)
        began = time.monotonic()
    assert time.monotonic() - began < 15
    assert deaf.poll() is not None
