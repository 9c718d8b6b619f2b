"""What the shell offers after TAB."""

import os
import subprocess
import sys

import pytest

MAIN = "import sys; sys.argv = ['hetctl']; from hetctl.cli.app import main; main()"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hetctl p", {"probe", "plan"}),
        ("hetctl kernels ", {"install", "status", "path"}),
        ("hetctl plan --m", {"--machine", "--max-model-len"}),
        ("hetctl --install", {"--install-completion"}),
    ],
)
def test_bash_is_offered_commands_and_options(typed: str, offered: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", MAIN],
        env=os.environ | words | {"_HETCTL_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == offered
