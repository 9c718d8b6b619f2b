"""``hetctl serve --emit``: the options that were given, from anywhere, and no secret."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from hetctl.cli.app import app
from hetctl.errors import UsageError
from hetctl.launch.dashboard import grafana_dashboard
from hetctl.launch.emit.target import Target
from hetctl.model.tiny import write_tiny

OF_A_SERVER = [target for target in Target if target is not Target.GRAFANA]
LOAD = ("--cpu-ranks", "2", "--split", "2,6", "--concurrency", "2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory; the demo model is in it."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path / "tiny")
    return tmp_path


def emit(target: str, *words: str) -> str:
    result = run("serve", "--emit", target, *words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("target", list(Target))
def test_every_target_prints_its_file_and_starts_nothing(folder: Path, target: str) -> None:
    text = emit(target, "tiny", *LOAD)
    assert text.startswith("{\n" if target == Target.GRAFANA else "# ")
    assert text.endswith("\n")
    assert {path.name for path in folder.iterdir()} == {"tiny"}


def test_a_service_finds_the_model_and_files_from_any_folder(folder: Path) -> None:
    assert f"hetctl plan {folder}/tiny --split=2,6" in emit("systemd", "tiny", *LOAD)
    assert run("plan", str(folder / "tiny"), *LOAD, "--save", "p.json").exit_code == 0
    unit = emit("systemd", "--plan", "p.json")
    assert f"LoadCredential=plan.json:{folder}/p.json" in unit
    assert f"HETCTL_SERVE_LOG={folder}/serve.log" in emit(
        "env", "tiny", *LOAD, "--log", "serve.log"
    )


def test_options_from_variables_and_files_go_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "hetctl.toml").write_text("[serve]\nconcurrency = 3\np2p = 'gloo'\n")
    monkeypatch.setenv("HETCTL_SERVE_PORT", "8123")
    monkeypatch.setenv("VLLM_HETERO_SCHEDULER", "vllm")
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    text = emit("docker", "tiny", "--split", "2,6", "--cpu-ranks", "2")
    main = yaml.safe_load(text)["services"]["hetctl"]
    assert {"--port=8123", "--concurrency=3", "--p2p=gloo"} <= set(main["command"])
    assert main["environment"] == {"VLLM_HETERO_SCHEDULER": "vllm", "HF_TOKEN": None}


def test_the_dashboard_is_that_of_any_server_and_holds_nothing_of_this_one(folder: Path) -> None:
    assert run("plan", "tiny", *LOAD, "--save", "p.json").exit_code == 0
    given = ("--host", "0.0.0.0", "--", "--api-key", "s3cretw0rd")
    # Neither a key, nor a path that a service could not follow, stands in its way.
    text = emit("grafana", "--plan", "p.json", *given)
    assert text == emit("grafana") == grafana_dashboard()
    assert json.loads(text)["title"]


@pytest.mark.parametrize("target", OF_A_SERVER)
@pytest.mark.parametrize(
    "words",
    [
        ("--api-key", "s3cretw0rd"),
        ("--api_key=s3cretw0rd",),
        ("--hf-token", "s3cretw0rd"),
        ("--tokenizer", "https://me:s3cretw0rd@hub.example/x"),
        ("--chat-template", "hf_s3cretw0rdabcdef"),
    ],
)
def test_a_secret_is_refused_and_not_repeated(
    folder: Path, target: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError, match=r"secret|--api-key-file") as caught:
        emit(target, "tiny", *LOAD, "--", *words)
    assert "s3cretw0rd" not in str(caught.value)


@pytest.mark.parametrize("target", OF_A_SERVER)
def test_hetctl_s_own_key_is_named_by_its_file_alone(folder: Path, target: str) -> None:
    with pytest.raises(UsageError, match="give --api-key-file FILE") as caught:
        emit(target, "tiny", *LOAD, "--api-key", "s3cretw0rd")
    assert "s3cretw0rd" not in str(caught.value)
    emitted = emit(target, "tiny", *LOAD, "--api-key-file", "/not/on/this/machine")
    assert "api_key" in emitted.lower().replace("-", "_")


def test_a_plan_with_a_relative_model_is_refused(folder: Path) -> None:
    assert run("plan", "tiny", *LOAD, "--save", "p.json").exit_code == 0
    with pytest.raises(UsageError, match="relative path tiny, which a service cannot follow"):
        emit("k8s", "--plan", "p.json")


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_with_its_variables_hetctl_serve_alone_is_the_same_server(folder: Path, shell: str) -> None:
    plan = folder / "the plan's $HOME.json"
    assert run("plan", str(folder / "tiny"), *LOAD, "--save", str(plan)).exit_code == 0
    words = ["--plan", str(plan), "--port", "8123", "--p2p", "gloo"]
    (folder / "env").write_text(emit("env", *words))
    hetctl = [sys.executable, "-m", "hetctl", "serve", "--dry-run"]
    direct = subprocess.run([*hetctl, *words], capture_output=True, text=True, timeout=60)
    code = 'set -a; . ./env; set +a; exec "$@"'
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    sourced = subprocess.run(
        [shell, "-c", code, shell, *hetctl],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "HETCTL_SERVE_PORT": "1"},
    )
    assert "VLLM_HETERO_HOP=gloo" in direct.stdout
    assert (sourced.stdout, sourced.stderr) == (direct.stdout, direct.stderr)
