"""Code that comes with a model is run by nobody who did not ask for it."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.errors import UsageError
from hetctl.launch.command import launch_command
from hetctl.model.tiny import write_tiny
from tests.bench import sample
from tests.security.sources import FILES, ROOT, parsed, texts

LOAD = ("--machine", "rtx4090-ddr5", "--concurrency", "2")


def is_trust(text: str) -> bool:
    return "trust_remote" in text.replace("-", "_")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_source_trusts_remote_code(file: Path) -> None:
    tree = parsed(file)
    assert not [text for text in texts(tree) if is_trust(text)]
    assert "trust_remote_code" not in file.read_text(encoding="utf-8")


def test_only_who_asks_for_it_gets_it() -> None:
    for plan in (sample.hybrid_plan(), sample.cpu_plan()):
        command = launch_command(plan, host="127.0.0.1", port=8000)
        assert not [word for word in (*command.argv, *command.env) if is_trust(word)]
        asked = launch_command(
            plan, host="127.0.0.1", port=8000, extra_args=["--trust-remote-code"]
        )
        assert asked.argv == (*command.argv, "--trust-remote-code")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose config names code that lies beside it."""
    write_tiny(tmp_path / "model")
    code = f"open({str(tmp_path / 'it-was-run')!r}, 'w').close()\n"
    for name in ("configuration_own.py", "modeling_own.py", "tokenization_own.py"):
        (tmp_path / "model" / name).write_text(code)
    monkeypatch.chdir(tmp_path / "model")
    return tmp_path / "model"


def with_own_code(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnModel",
    }
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_a_model_of_a_known_kind_is_planned_without_its_code(folder: Path) -> None:
    with_own_code(folder)
    result = CliRunner().invoke(app, ["plan", str(folder), *LOAD, "--json"])
    assert result.exit_code == 0, result.output
    assert not (folder.parent / "it-was-run").exists()
    assert not {"configuration_own", "modeling_own"} & set(sys.modules)


def test_a_model_of_an_unknown_kind_is_planned_from_its_sizes_or_refused(folder: Path) -> None:
    with_own_code(folder, model_type="own", architectures=["OwnModel"])
    result = CliRunner().invoke(app, ["plan", str(folder), *LOAD, "--json"])
    # Its safetensors tell the sizes.
    assert result.exit_code == 0, result.output
    (folder / "model.safetensors").unlink()
    result = CliRunner().invoke(app, ["plan", str(folder), *LOAD, "--json"])
    assert isinstance(result.exception, UsageError)
    assert "own" in str(result.exception).lower()
    assert not (folder.parent / "it-was-run").exists()
