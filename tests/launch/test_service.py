"""A server is watched, started again where that is wanted, and drained at the end.

A small HTTP server stands in for vLLM: what is looked at is what hetctl does around it.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hetctl.cli.end_signals import EndSignals
from hetctl.errors import LaunchError
from hetctl.launch import restarts, server, service
from hetctl.launch.command import LaunchCommand
from hetctl.launch.port import free_port
from hetctl.launch.server import Server
from hetctl.launch.service import Service, Terms

# Told to end, it waits for three seconds, as if for requests, and says whether it refuses others.
STAND_IN = """
import os, pathlib, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
def drain(number, frame):
    time.sleep(0.2)
    print("draining", os.listdir(os.environ["VLLM_RPC_BASE_PATH"]), flush=True)
    time.sleep(3)
    print("drained", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, drain)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@dataclass
class Listener:
    """A voice that remembers, and does something to each server that is ready."""

    on_ready: list[Callable[[Server], None]]
    in_a_hurry: bool = False
    told: list[str] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        yield lambda phase: None

    def ready(self, server: Server) -> None:
        self.told.append("ready")
        self.servers.append(server)
        self.on_ready.pop(0)(server)

    def failed(self, error: LaunchError, pause_s: float) -> None:
        self.told.append(f"failed: {error}")

    def draining(self, seconds: int) -> None:
        self.told.append(f"draining {seconds}")
        if self.in_a_hurry:
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()


def kill(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)


def stop(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)


def ask_for_the_end(server: Server) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(service, "WATCH_S", 0.05)
    monkeypatch.setattr(service, "HEALTH_EVERY_S", 0.1)
    monkeypatch.setattr(server, "STOP_GRACE_S", 5.0)


def run(log: Path, listener: Listener, terms: Terms, code: str = STAND_IN) -> list[str]:
    """Run a service to its end; returns which servers could be found, and when."""
    found: list[str] = []

    def new_server() -> Server:
        port = free_port()
        argv = (sys.executable, "-c", code, str(port))
        command = LaunchCommand(argv=argv, env={}, host="127.0.0.1", port=port, model_name="m")
        return Server(command, log)

    @contextmanager
    def published(server: Server) -> Iterator[None]:
        found.append("found")
        yield
        found.append("gone")

    signals = EndSignals()
    with signals.handled():
        Service(new_server, published, terms, listener, signals).run()
    return found


def test_a_server_runs_until_its_end_is_asked_for(tmp_path: Path) -> None:
    listener = Listener([ask_for_the_end])
    run(tmp_path / "log", listener, Terms(drain_timeout_s=20))
    assert listener.told == ["ready", "draining 20"]
    draining, drained = (tmp_path / "log").read_text().splitlines()
    assert "'draining'" in draining
    assert drained == "drained"
    assert listener.servers[0].poll() == 0


def test_who_asks_again_does_not_wait(tmp_path: Path) -> None:
    listener = Listener([ask_for_the_end], in_a_hurry=True)
    run(tmp_path / "log", listener, Terms(drain_timeout_s=20))
    assert "drained" not in (tmp_path / "log").read_text()
    assert listener.servers[0].poll() == -signal.SIGKILL


def test_without_time_to_drain_nobody_is_told_of_it(tmp_path: Path) -> None:
    listener = Listener([ask_for_the_end])
    run(tmp_path / "log", listener, Terms(drain_timeout_s=0))
    assert listener.told == ["ready"]
    assert "'draining'" not in (tmp_path / "log").read_text()


def test_a_server_that_dies_ends_the_service(tmp_path: Path) -> None:
    listener = Listener([kill])
    with pytest.raises(LaunchError, match="The server died"):
        run(tmp_path / "log", listener, Terms())
    assert listener.told == ["ready"]


def test_a_server_that_dies_is_started_again(tmp_path: Path) -> None:
    listener = Listener([kill, kill, ask_for_the_end])
    found = run(tmp_path / "log", listener, Terms(restart=True, drain_timeout_s=0))
    assert [told.partition(":")[0] for told in listener.told] == [
        *("ready", "failed", "ready", "failed", "ready")
    ]
    assert "The server died" in listener.told[1]
    assert found[:2] == ["found", "gone"] or found[:2] == ["found", "found"]
    assert len({server.command.port for server in listener.servers}) == 3


def test_after_too_many_failures_it_stays_ended(tmp_path: Path) -> None:
    listener = Listener([kill, kill, kill])
    with pytest.raises(LaunchError, match=r"failed 3 times in a row, and --restart-limit is 2\.$"):
        run(tmp_path / "log", listener, Terms(restart=True, restart_limit=2))


def test_what_was_never_ready_is_not_started_again(tmp_path: Path) -> None:
    listener = Listener([])
    with pytest.raises(LaunchError, match="did not start: ValueError: no such model"):
        run(tmp_path / "log", listener, Terms(restart=True), "raise ValueError('no such model')")
    assert listener.told == []


def test_a_server_that_does_not_answer_has_failed(tmp_path: Path) -> None:
    listener = Listener([stop])
    with pytest.raises(LaunchError, match=r"has not answered /health for .* --health-timeout"):
        run(tmp_path / "log", listener, Terms(health_timeout_s=0.5))


def test_a_service_manager_hears_of_each_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(30)

        def listen() -> None:
            while not heard or "STOPPING" not in heard[-1]:
                heard.append(manager.recv(4096).decode())

        listening = threading.Thread(target=listen)
        listening.start()
        listener = Listener([kill, ask_for_the_end])
        run(tmp_path / "log", listener, Terms(restart=True, drain_timeout_s=0))
        listening.join()
    states = [line for message in heard for line in message.splitlines() if line != "WATCHDOG=1"]
    assert [state.partition(",")[0] for state in states] == [
        *("STATUS=starting", "READY=1", "STATUS=ready", "STATUS=failed"),
        *("STATUS=starting", "READY=1", "STATUS=ready", "STOPPING=1", "STATUS=ending"),
    ]
    assert "WATCHDOG=1" in heard
