"""Nobody but this machine reaches a server, unless its user says so.

``tests/e2e/test_service.py`` looks at what a real one listens on.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.launch.port import free_port
from tests.bench import sample
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
