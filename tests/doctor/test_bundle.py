"""A bundle holds what a maintainer needs, and no secret."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hetctl.doctor.bundle import check_bundle_name, latest_logs, told_variables, write_bundle
from hetctl.doctor.diagnosis import Diagnosis
from hetctl.errors import UsageError
from hetctl.redact import MASK
from tests.planner.machines import machine

SECRETS = {
    "HF_TOKEN": "hf_QwErTyUiOpAsDfGh",
    "VLLM_API_KEY": "vllm-key-4711",
    "OPENAI_API_KEY": "sk-proj-0123456789abcdef",
    "MY_DATABASE_PASSWORD": "tr0ub4dor",
    "HTTPS_PROXY": "http://user:proxy-pa55@proxy.example:3128",
    "NOTES_OF_MINE": "ghp_0123456789abcdefghijABCDEFGHIJ",
}
LOG = """INFO 11-21 09:00:00 api_server args: {'api_key': ['vllm-key-4711'], 'port': 8000}
downloading with Authorization: Bearer hf_QwErTyUiOpAsDfGh
HF_ENDPOINT=https://me:mirror-pa55@mirror.example tr0ub4dor
command: vllm serve --api-key another-secret-key --port 8000
step took 12 ms, 48 tokens
"""
NEVER = (
    "QwErTyUiOpAsDfGh",
    "vllm-key-4711",
    "0123456789abcdef",
    "tr0ub4dor",
    "proxy-pa55",
    "mirror-pa55",
    "another-secret-key",
)


def unpacked(bundle: Path) -> dict[str, str]:
    with tarfile.open(bundle) as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_no_secret_is_in_the_bundle_that_the_command_writes(tmp_path: Path) -> None:
    state = tmp_path / "state" / "hetctl"
    state.mkdir(parents=True)
    (state / "serve-8000.log").write_text(LOG)
    (tmp_path / "hetctl.toml").write_text('[bench]\nout = "https://u:mirror-pa55@h/"\n')
    paths = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "hetctl", "doctor", "--quick", "--json"]
    done = subprocess.run(
        [*command, "--bundle", "report.tar.gz"],
        cwd=tmp_path,
        env=os.environ | SECRETS | paths | {"HETCTL_SERVE_LOG": "/x?token=vllm-key-4711"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (0, 1), done.stderr
    files = unpacked(tmp_path / "report.tar.gz")
    assert set(files) == {
        "report/doctor.json",
        "report/machine.json",
        "report/config.json",
        "report/versions.json",
        "report/environment.json",
        "report/logs/hetctl/serve-8000.log",
    }
    for text in (*files.values(), done.stdout, done.stderr):
        assert not [secret for secret in NEVER if secret in text]
    # What is no secret is there.
    assert "step took 12 ms, 48 tokens" in files["report/logs/hetctl/serve-8000.log"]
    assert json.loads(files["report/doctor.json"])["kind"] == "hetctl.doctor"
    assert "vllm" in json.loads(files["report/versions.json"])
    told = json.loads(files["report/environment.json"])
    assert told["variables"]["HF_TOKEN"] == MASK
    assert "MY_DATABASE_PASSWORD" in told["set_but_not_told"]
    assert "NOTES_OF_MINE" in told["set_but_not_told"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    bundle = tmp_path / "b.tar.gz"
    bundle.touch(mode=0o666)
    write_bundle(bundle, Diagnosis(findings=()), machine(), "{}", (), {})
    assert bundle.stat().st_mode & 0o777 == 0o600


def test_the_logs_of_the_latest_run_are_taken(tmp_path: Path) -> None:
    for name, age_s in (("old.log", 100_000), ("a.log", 60), ("a.log.1", 30), ("rank-0.log", 5)):
        file = tmp_path / name
        file.touch()
        at = file.stat().st_mtime - age_s
        os.utime(file, (at, at))
    assert [log.name for log in latest_logs(tmp_path)] == ["a.log", "a.log.1", "rank-0.log"]
    assert latest_logs(tmp_path / "none") == ()


def test_of_variables_that_mean_nothing_here_only_the_name_is_told() -> None:
    told = told_variables({"CUDA_VISIBLE_DEVICES": "0", "SHOPPING_LIST": "milk"})
    assert told == {
        "variables": {"CUDA_VISIBLE_DEVICES": "0"},
        "set_but_not_told": ["SHOPPING_LIST"],
    }


@pytest.mark.parametrize("name", ["report.zip", "report", "no/such/folder/report.tar.gz"])
def test_a_bundle_that_cannot_be_written_is_refused_first(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        check_bundle_name(Path(name))
