"""The exit codes that docs/exit-codes.md promises, from real commands."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hetctl import errors

DOCS = Path(__file__).parents[2] / "docs" / "exit-codes.md"
HETCTL = (sys.executable, "-m", "hetctl")


def test_the_page_lists_every_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)}
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert listed == codes | {0}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("config",), 0),
        (("probe", "--save", "/dev/null/x"), errors.EXIT_FAILURE),
        (("serve", "--plan", "no-such-plan.json"), errors.EXIT_USAGE),
        (("serve", "--port", "0"), errors.EXIT_USAGE),
        (("no-such-command",), errors.EXIT_USAGE),
        (("gate", "no", "folders"), errors.EXIT_USAGE),
    ],
)
def test_commands_end_with_the_code_of_the_page(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [*HETCTL, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_an_error_that_quotes_a_name_does_not_command_the_terminal() -> None:
    done = subprocess.run([*HETCTL, "plan", "./no\x1b[31m"], capture_output=True, text=True)
    assert done.returncode == errors.EXIT_USAGE
    assert "./no\\x1b[31m" in done.stderr
    assert "\x1b" not in done.stderr


def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    # A plan that never comes: the command waits for it.
    plan = tmp_path / "plan.json"
    os.mkfifo(plan)
    process = subprocess.Popen(
        [*HETCTL, "serve", "--plan", str(plan)],
        stderr=subprocess.PIPE,
        # A runner that was started in the background ignores it, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        writer = opened_once_it_is_read(plan)
        assert code_once_interrupted(process) == errors.EXIT_INTERRUPTED
        os.close(writer)
    finally:
        process.kill()
        process.communicate()


def code_once_interrupted(process: "subprocess.Popen[bytes]") -> int:
    """Interrupt like a person, who tries again: a signal that comes just before Python waits in a
    system call is not seen before that call ends.
    """
    time.sleep(0.5)
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(10)
    raise AssertionError("hetctl does not end when it is interrupted")


def opened_once_it_is_read(fifo: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        # Without a reader the kernel answers ENXIO.
        with contextlib.suppress(OSError):
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.02)
    raise AssertionError("serve did not come to read its plan")
