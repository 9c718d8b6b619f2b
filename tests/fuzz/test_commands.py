"""Random files, given to the commands that read them: an answer, or one sentence."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from typer.testing import CliRunner

from hetctl.bench.compare import RESULTS_FILE
from hetctl.cli.app import app
from hetctl.errors import HetctlError
from hetctl.launch.emit.target import Target
from hetctl.launch.running import records_folder, running_servers
from hetctl.model.tiny import write_tiny
from hetctl.profiles.measured_file import profile_path
from hetctl.server_record import ServerRecord
from tests.bench import sample
from tests.fuzz.examples import EXAMPLES, files, many
from tests.fuzz.test_files import MACHINE, PLAN, assert_one_sentence, settings_files
from tests.profiles.test_profiles_measured import profile

PROFILE = json.loads(profile(machine_fingerprint=MACHINE["fingerprint"]).to_json())
RESULTS = json.loads(sample.results().to_json())
RECORD = json.loads(
    ServerRecord(
        pid=os.getpid(),
        pid_created_s=1e9,
        started=datetime.now(UTC),
        base_url="http://127.0.0.1:8000",
        model_name="m",
        plan=sample.hybrid_plan(),
        log=Path("/var/log/serve.log"),
    ).to_json()
)
CONFIG = json.loads((resources.files("hetctl.model") / "tiny_model" / "config.json").read_text())
LOAD = ("--concurrency", "2", "--input-len", "16", "--output-len", "8")

few = settings(many, max_examples=max(10, EXAMPLES // 3))
"""Commands take a while."""


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the demo model, and folders of a user of its own."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_tiny(folder / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("CACHE", "STATE", "CONFIG"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        yield folder


def answered(*words: str) -> None:
    """Run a command, which must do what it is for or say what is wrong in one sentence."""
    result = CliRunner().invoke(app, list(words))
    error = result.exception
    if isinstance(error, HetctlError):
        assert_one_sentence(error)
    elif error is not None and not isinstance(error, SystemExit):
        raise error


def written(name: str, content: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)
    return name


@few
@given(files(PLAN))
def test_serve_of_a_plan(content: bytes) -> None:
    answered("serve", "--plan", written("plan.json", content), "--dry-run")


@pytest.mark.parametrize("target", list(Target))
@few
@given(content=files(PLAN))
def test_emit_of_a_plan(target: str, content: bytes) -> None:
    answered("serve", "--plan", written("plan.json", content), "--emit", target)


@few
@given(files(MACHINE))
def test_plan_for_a_machine(content: bytes) -> None:
    answered("plan", "tiny", *LOAD, "--machine", written("machine.json", content))


@few
@given(files(PROFILE))
def test_plan_with_measurements(content: bytes) -> None:
    written("machine.json", json.dumps(MACHINE).encode())
    written(str(profile_path(MACHINE["fingerprint"])), content)
    answered("plan", "tiny", *LOAD, "--machine", "machine.json")
    profile_path(MACHINE["fingerprint"]).unlink()


@few
@given(files(CONFIG))
def test_plan_of_a_model(content: bytes) -> None:
    written("model/config.json", content)
    answered("plan", "model", *LOAD, "--machine", "rtx4090-ddr5")


@few
@given(files(RESULTS))
def test_gate_of_results(content: bytes) -> None:
    written("base.json", json.dumps(RESULTS).encode())
    answered("gate", "base.json", written("current.json", content))


@settings(many, max_examples=max(5, EXAMPLES // 12))
@given(files(RESULTS))
def test_report_of_results(content: bytes) -> None:
    written(f"results/{RESULTS_FILE}", content)
    answered("report", "results")


@few
@given(settings_files() | files({}))
def test_config_of_settings(content: bytes) -> None:
    written("hetctl.toml", content)
    answered("config", "--json")
    answered("serve", "--plan", "nowhere.json", "--dry-run")
    Path("hetctl.toml").unlink()


@many
@given(files(RECORD))
def test_records_of_servers(content: bytes) -> None:
    written(str(records_folder() / "1.json"), content)
    found: tuple[Any, ...] = running_servers()
    assert len(found) <= 1
