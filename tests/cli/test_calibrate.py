"""``hetctl probe --calibrate`` as a user meets it: output, file, interruption, bad files."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.calibrate import rank_process
from hetctl.cli.app import app
from hetctl.errors import EXIT_INTERRUPTED, UsageError
from hetctl.machine_profile import MachineProfile
from hetctl.model.tiny import write_tiny
from hetctl.probe.machine import probe_machine
from hetctl.profiles.measured_file import profile_path
from tests.calibrate.conftest import FAKE

MACHINE = probe_machine()


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring processes that answer at once."""
    monkeypatch.setattr(rank_process, "PROGRAM", (sys.executable, str(FAKE)))
    monkeypatch.setattr("vllm_hetero.kernels.ensure_kernels", lambda say: Path())
    monkeypatch.delenv("FAKE_RANK", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny(folder)
    return str(folder)


def test_json_is_the_profile_that_is_kept() -> None:
    result = CliRunner().invoke(app, ["probe", "--calibrate", "--json"])
    assert result.exit_code == 0, result.output
    path = profile_path(MACHINE.fingerprint)
    assert result.stdout == path.read_text()
    assert MachineProfile.load(path).machine_fingerprint == MACHINE.fingerprint
    assert f"saved to {path}" in result.stderr
    assert "memory read rate" in result.stderr


def test_tables_show_each_figure_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_RANK", "layer=error")
    result = CliRunner().invoke(app, ["probe", "--calibrate"])
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "memory read 20 GB/s 10 - 40 3" in shown
    assert "Not measured: node 0: overhead of a layer: it cannot be done." in shown


def test_a_saved_machine_has_its_measurements(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    CliRunner().invoke(app, ["probe", "--calibrate", "--save", str(file)], catch_exceptions=False)
    read = json.loads(file.read_text())["numa_nodes"][0]["memory_read_bytes_per_s"]
    assert (read["value"], read["source"]) == (2e10, "measured")


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_interruption_keeps_nothing_and_names_what_is_lost(
    number: str, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_RANK", f"weights={number}")
    result = CliRunner().invoke(app, ["probe", "--calibrate"])
    assert result.exit_code == EXIT_INTERRUPTED
    said = result.stderr.splitlines()[-1]
    assert said.startswith("Interrupted, and nothing was saved: 1 of ")
    assert "(node 0: memory read rate)" in said
    assert list(own_cache.rglob("*.json*")) == []


def test_interruption_leaves_earlier_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    CliRunner().invoke(app, ["probe", "--calibrate"], catch_exceptions=False)
    path = profile_path(MACHINE.fingerprint)
    before = path.read_text()
    monkeypatch.setenv("FAKE_RANK", "memory=SIGINT")
    result = CliRunner().invoke(app, ["probe", "--calibrate"])
    assert result.exit_code == EXIT_INTERRUPTED
    assert "nothing had been measured; the earlier measurements stay" in result.stderr
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not valid JSON"),
        ('{"kind": "hetctl.plan"}', "is not a hetctl.machine_profile file"),
        ("\xff\xfe", "is not valid JSON"),
    ],
)
def test_a_spoilt_profile_stops_a_plan_in_one_sentence_and_no_probe(
    content: str, message: str, tiny: str
) -> None:
    path = profile_path(MACHINE.fingerprint)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    planned = CliRunner().invoke(app, ["plan", tiny])
    assert isinstance(planned.exception, UsageError)
    assert message in str(planned.exception)
    assert str(planned.exception).endswith(
        "measure again (hetctl probe --calibrate), or remove the file."
    )
    probed = CliRunner().invoke(app, ["probe"])
    assert probed.exit_code == 0
    # The terminal breaks lines, within long words as well.
    assert "".join(message.split()) in "".join(probed.stdout.split())


def test_measurements_of_other_machines_are_noticed(tiny: str) -> None:
    path = profile_path("000000000000")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    shown = " ".join(CliRunner().invoke(app, ["probe"]).stdout.split())
    assert "not yet; those in the cache are of other machines" in shown
    planned = CliRunner().invoke(app, ["plan", tiny, "--json"])
    notes = json.loads(planned.stdout)["explanation"]
    assert any("are of other machines; hetctl probe --calibrate measures" in n for n in notes)
