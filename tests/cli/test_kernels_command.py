"""``hetctl kernels`` shows what is installed and turns failures into one sentence."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.errors import HetctlError

runner = CliRunner()


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VLLM_HETERO_KERNELS_WHEEL", "VLLM_HETERO_KERNELS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VLLM_HETERO_CACHE", str(tmp_path))


def test_status_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    result = runner.invoke(app, ["kernels", "status"])
    assert result.exit_code == 0
    assert "no: run `hetctl kernels install`" in result.stdout
    assert str(tmp_path) in result.stdout


def test_status_as_json_can_be_parsed(tmp_path: Path) -> None:
    result = runner.invoke(app, ["kernels", "status", "--json"])
    data = json.loads(result.stdout)
    assert data["installed"] is False
    assert Path(data["path"]).is_relative_to(tmp_path)
    assert data["modules"] == []


def test_path_without_kernels_is_an_error_with_the_remedy() -> None:
    result = runner.invoke(app, ["kernels", "path"])
    assert isinstance(result.exception, HetctlError)
    assert "hetctl kernels install" in str(result.exception)
    assert result.stdout == ""


def test_path_prints_the_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_hetero.kernels import host

    (tmp_path / "_C_AVX2.abi3.so").touch()
    monkeypatch.setattr(host, "required_module", lambda: "_C_AVX2")
    monkeypatch.setenv("VLLM_HETERO_KERNELS_DIR", str(tmp_path))
    assert runner.invoke(app, ["kernels", "path"]).stdout == f"{tmp_path}\n"


def test_a_wrong_wheel_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "page.whl").write_text("<html>not found</html>")
    result = runner.invoke(app, ["kernels", "install", "--from", str(tmp_path / "page.whl")])
    assert isinstance(result.exception, HetctlError)
    assert "is not a complete wheel" in str(result.exception)
    assert "\n" not in str(result.exception)
