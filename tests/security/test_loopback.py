"""Nobody but this machine reaches a server, unless its user says so."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.launch.port import free_port
from tests.bench import sample
from tests.e2e.demo import demo_prompts, write_demo_model
from tests.e2e.engine import ServeProcess
from tests.security.sources import FILES, ROOT, parsed, texts

EVERY_ADDRESS = {"0.0.0.0", "[::]", "--host=0.0.0.0"}
IN_A_CONTAINER = "hetctl/launch/emit/container.py"
"""A container's own network: what of it the machine shows is another line of the file."""


@pytest.fixture
def saved_plan(tmp_path: Path) -> Path:
    plan = sample.cpu_plan()
    plan.save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def serve(*words: str) -> str:
    result = CliRunner().invoke(app, ["serve", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_server_listens_on_loopback_unless_told_otherwise(saved_plan: Path) -> None:
    words = serve("--plan", str(saved_plan), "--dry-run").split()
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words.count("--host") == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_listens_on_every_address_of_its_own_accord(file: Path) -> None:
    found = texts(parsed(file)) & EVERY_ADDRESS
    assert found == ({"--host=0.0.0.0"} if file == ROOT / IN_A_CONTAINER else set())


@pytest.mark.parametrize(("patched", "expected"), [(True, "127.0.0.1"), (False, "::")])
def test_ranks_meet_on_loopback_alone(patched: bool, expected: str) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    script = Path(__file__).with_name("store_server.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), address, "patched" if patched else "plain"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    # Without the patch it is still needed; where that fails, the patch may go.
    assert json.loads(said[0].splitlines()[-1]) == [expected]


@pytest.mark.engine
def test_no_process_of_an_engine_can_be_reached_from_elsewhere(tmp_path: Path) -> None:
    model = write_demo_model(tmp_path / "model")
    args = ("--cpu-ranks", "2", "--split", "2,6", "--concurrency", "2")
    with ServeProcess(model, args, tmp_path / "serve.log") as server:
        assert server.complete(demo_prompts(model)[0], 4)
        pids = [server.process.pid, *(process.pid for process in server.descendants)]
        listening = [
            connection.laddr.ip
            for pid in pids
            if psutil.pid_exists(pid)
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
    assert "127.0.0.1" in listening
    assert {address for address in listening if address not in ("127.0.0.1", "::1")} == set()
