"""``hetctl model tiny`` writes the same folder every time and destroys nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.errors import HetctlError, UsageError
from hetctl.model.tiny import write_tiny

NAMES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_folders_are_equal_byte_for_byte_and_complete(tmp_path: Path) -> None:
    assert write_tiny(tmp_path / "a")
    assert write_tiny(tmp_path / "deep" / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "deep" / "b")
    assert set(contents(tmp_path / "a")) == NAMES
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_all_of_it_is_smaller_than_10_mb(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    assert sum(map(len, contents(tmp_path / "a").values())) < 10e6


def test_an_empty_folder_is_filled_in_place(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    assert write_tiny(tmp_path)
    assert set(contents(tmp_path)) == NAMES
    assert tmp_path.stat().st_ino == before


def test_the_model_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    before = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
    assert not write_tiny(tmp_path / "a")
    assert (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("other", ["unrelated", "damaged", "other model"])
def test_a_folder_of_something_else_needs_force(tmp_path: Path, other: str) -> None:
    if other == "damaged":
        write_tiny(tmp_path)
        os.truncate(tmp_path / "model.safetensors", 1000)
    (tmp_path / "thesis.txt").write_text("ten years of work")
    if other == "other model":
        (tmp_path / "config.json").write_text("{}")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"not empty and is not the demo model.*--force"):
        write_tiny(tmp_path)
    assert contents(tmp_path) == before

    assert write_tiny(tmp_path, force=True)
    assert not write_tiny(tmp_path), "it is the demo model now"
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_a_file_is_refused_even_with_force(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write_tiny(tmp_path / "file", force=True)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(HetctlError, match=r"Cannot write the demo model.*File exists: .*/file"):
        write_tiny(tmp_path / "file" / "model")


@pytest.fixture
def _interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes when the tokenizer is put in place."""
    place = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if target.name == "tokenizer.json":
            raise KeyboardInterrupt
        return place(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)


@pytest.mark.usefixtures("_interrupted")
def test_an_interrupted_copy_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_tiny(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_interrupted")
def test_an_interrupted_copy_into_an_empty_folder_cannot_be_taken_for_a_model(
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_tiny(tmp_path)
    assert set(contents(tmp_path)) < NAMES - {"config.json"}


def test_the_command_names_the_folder(tmp_path: Path) -> None:
    target = str(tmp_path / "model")
    first = CliRunner().invoke(app, ["model", "tiny", target])
    second = CliRunner().invoke(app, ["model", "tiny", target])
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stdout.strip() == f"The demo model is in {target}"
    assert second.stdout.strip() == f"The demo model was already in {target}"


def test_the_command_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hetctl.cli.app import app;"
        f"r = CliRunner().invoke(app, ['model', 'tiny', {str(tmp_path / 'm')!r}]);"
        "heavy = {'torch', 'vllm', 'transformers'} & set(sys.modules);"
        "sys.exit(f'{r.exit_code} {heavy}' if r.exit_code or heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
