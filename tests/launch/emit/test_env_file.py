"""The file of variables: shells and systemd read the same from it, which is what was given."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given

from hetctl.errors import UsageError
from hetctl.launch.emit.env_file import env_file
from hetctl.launch.emit.settings import ServiceSettings
from tests.launch.emit.samples import few, service, services
from tests.launch.emit.systemd_library import Systemd

SHELLS = ("sh", "bash", "dash")


def expected(settings: ServiceSettings) -> dict[str, str]:
    given = {option.variable: option.variable_value for option in settings.options[:2]}
    return {
        "HETCTL_SERVE_PLAN": str(settings.plan_path),
        **given,
        "HETCTL_SERVE_HOST": "127.0.0.1",
        "HETCTL_SERVE_PORT": "8000",
        "HETCTL_SERVE_START_TIMEOUT": "1800",
        **settings.variables,
    }


def sourced(shell: str, file: Path) -> dict[str, str]:
    """The variables that a shell exports once it has read the file."""
    done = subprocess.run(
        [shell, "-c", f'set -a; . "{file}"; exec env -0'],
        capture_output=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    pairs = (pair.split("=", 1) for pair in done.stdout.decode().split("\0") if pair)
    return {name: value for name, value in pairs if name.startswith(("HETCTL_", "VLLM_"))}


@few
@given(services())
def test_systemd_reads_what_was_given(settings: ServiceSettings) -> None:
    systemd = Systemd()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "env"
        file.write_text(env_file(settings), encoding="utf-8")
        assert systemd.environment(file) == expected(settings)


@pytest.mark.parametrize("shell", SHELLS)
@few
@given(settings=services())
def test_shells_read_what_was_given(shell: str, settings: ServiceSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "env"
        file.write_text(env_file(settings), encoding="utf-8")
        assert sourced(shell, file) == expected(settings)


def test_it_names_a_key_by_its_file() -> None:
    text = env_file(service(api_key_file=Path("/etc/keys/my key")))
    assert 'HETCTL_SERVE_API_KEY_FILE="/etc/keys/my key"\n' in text


@pytest.mark.parametrize("bad", ["a\x1bb", "a\0b", "\udcff", "a\rb"])
def test_what_systemd_would_drop_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match=r"VLLM_HETERO_SCHEDULER: .* has no form for"):
        env_file(service(variables={"VLLM_HETERO_SCHEDULER": bad}))


def test_nothing_of_the_developer_is_in_it() -> None:
    assert os.environ.get("HOME", "/root") not in env_file(service())
