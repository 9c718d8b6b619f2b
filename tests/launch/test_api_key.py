"""Where a server's key may be from, and where it must not be seen."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hetctl.errors import UsageError
from hetctl.launch.api_key import VARIABLE, api_key_of, without_keys

KEY = "0123456789abcdef"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


def test_it_is_the_option_the_file_or_vllm_s_variable(file: Path) -> None:
    environment = {VARIABLE: "from-outside"}
    assert api_key_of("given", None, environment) == ("given", None)
    assert api_key_of(None, file, environment) == (KEY, None)
    assert api_key_of(None, None, environment) == ("from-outside", None)
    assert api_key_of(None, None, {}) == (None, None)
    with pytest.raises(UsageError, match="leave one of them out"):
        api_key_of("given", file, {})


def test_a_file_that_others_can_read_is_warned_of(file: Path) -> None:
    file.chmod(0o644)
    key, warning = api_key_of(None, file, {})
    assert key == KEY
    assert warning is not None
    assert f"chmod 600 {file}" in warning


@pytest.mark.parametrize(
    "content", ["", "\n", "two words", "a\nb", "schlüssel", "a\x00b", "x" * 5000]
)
def test_what_is_no_key_is_refused_and_not_shown(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(UsageError) as refused:
        api_key_of(None, file, {})
    assert str(file) in str(refused.value)
    assert not content.strip() or content not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none cannot be read: No such file"):
        api_key_of(None, tmp_path / "none", {})
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        api_key_of(None, tmp_path, {})


def test_words_of_a_command_line_lose_the_key() -> None:
    words = ["hetctl", "serve", "m", "--api-key", KEY, f"--api-key={KEY}", "--api-key-file", "f"]
    shown = without_keys(words)
    assert KEY not in " ".join(shown)
    assert shown[-2:] == ["--api-key-file", "f"]
    assert without_keys(["hetctl", "serve"]) == ["hetctl", "serve"]


def test_the_title_of_the_process_does_not_hold_the_key(tmp_path: Path) -> None:
    # A plan that never comes: the command waits for it.
    plan = tmp_path / "plan.json"
    os.mkfifo(plan)
    command = [sys.executable, "-m", "hetctl", "serve", "--plan", str(plan), "--api-key", KEY]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        title = Path(f"/proc/{process.pid}/cmdline")
        deadline = time.monotonic() + 30
        while KEY in (words := title.read_bytes().decode()) or "serve" not in words:
            assert time.monotonic() < deadline, words
            time.sleep(0.02)
        assert "--api-key ********" in words.replace("\0", " ")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
