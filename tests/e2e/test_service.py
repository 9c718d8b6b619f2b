"""A server that is left running: with a key, started again after a failure, drained at the end."""

import json
import signal
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.engine import ServeProcess, left_behind, shared_memory

pytestmark = pytest.mark.engine

KEY = "0123456789abcdef-s3cret"
OPTIONS = (
    "--split 2,6 --max-model-len 2048 --concurrency 4 --input-len 64 --output-len 32",
    "--restart --log-json --drain-timeout 60 --api-key-file",
)


class LongRequest:
    """Sent from a thread; takes seconds."""

    def __init__(self, server: ServeProcess) -> None:
        self.tokens: list[int] = []
        self._thread = threading.Thread(target=self._send, args=(server,))
        self._thread.start()

    def _send(self, server: ServeProcess) -> None:
        self.tokens = server.complete([1, 2, 3], 1500)

    def answer(self) -> list[int]:
        self._thread.join(120)
        return self.tokens


def status(server: ServeProcess, path: str, key: str | None = None) -> int | None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def records(server: ServeProcess) -> list[dict[str, Any]]:
    """Every line of stdout, which must be JSON, each of them."""
    return [json.loads(line) for line in server.stdout.read_text().splitlines()]


def command_lines(server: ServeProcess) -> str:
    processes = [psutil.Process(server.process.pid), *server.descendants]
    return "\n".join(" ".join(process.cmdline()) for process in processes)


def listening_addresses(server: ServeProcess) -> set[str]:
    """Of hetctl and all processes of the engine."""
    found = set()
    for process in (psutil.Process(server.process.pid), *server.descendants):
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    found.add(connection.laddr.ip)
    return found


def test_a_server_is_guarded_started_again_and_drained(demo_model: Path, tmp_path: Path) -> None:
    before = shared_memory()
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(0o600)
    log = tmp_path / "serve.log"
    options = (*OPTIONS, str(file))
    with ServeProcess(demo_model, options, log, key=KEY) as server:
        for path in ("/v1/models", "/tokenizer_info", "/openapi.json"):
            assert status(server, path) == status(server, path, "wrong") == 401
        assert status(server, "/v1/models", KEY) == 200
        assert status(server, "/health") == status(server, "/metrics") == 200
        assert KEY not in command_lines(server)
        assert "127.0.0.1" in listening_addresses(server) <= {"127.0.0.1", "::1"}
        first = server.complete([1, 2, 3], 8)

        server.ranks()[1].kill()
        server.wait_ready(2)
        assert server.complete([1, 2, 3], 8) == first
        # The log of the server that died is still there.
        assert "was killed by SIGKILL" in (tmp_path / "serve.log.1").read_text()

        running = LongRequest(server)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while status(server, "/health") == 200:
            assert time.monotonic() < deadline
        # 503, or no connection once the server listens no more.
        with pytest.raises(urllib.error.URLError, match=r"503|refused"):
            server.complete([1, 2, 3], 8)
        assert len(running.answer()) == 1500
        _, said = server.process.communicate(timeout=60)
        assert server.process.returncode == 0
    assert left_behind(server, before) == []

    told = records(server)
    events = [record["event"] for record in told if "event" in record]
    wanted = ["plan", "ready", "restart", "ready", "draining", "ended"]
    assert [event for event in events if event in wanted] == wanted
    restart = next(record for record in told if record.get("event") == "restart")
    assert "Rank 1 (cpu) was killed by SIGKILL" in restart["message"]
    assert {record["rank"] for record in told} == {None, 0, 1}
    for rank in (0, 1):
        own = (tmp_path / f"serve.rank-{rank}.log").read_text().splitlines()
        # Two ranks that write at once tear each other's lines apart, but none begins elsewhere.
        assert any(line.startswith(f"(Worker_PP{rank} ") for line in own)
        assert not any(line.startswith(f"(Worker_PP{1 - rank} ") for line in own)
    written = [path.read_text() for path in tmp_path.glob("serve.*") if path.is_file()]
    assert len(written) >= 7
    assert all(KEY not in text for text in (*written, said))
