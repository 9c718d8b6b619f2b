"""The Dockerfile is linted, and its context holds what it builds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_it_has_nothing_for_hadolint_to_say() -> None:
    # Of the development packages, or of the machine.
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_its_context_is_what_a_build_reads() -> None:
    """All else stays out: a virtual environment is gigabytes, and .git changes all the time."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert kept == {"LICENSE", "README.md", "hetctl", "profiles", "pyproject.toml", "runtime"} | {
        "uv.lock"
    }
    assert all((ROOT / name).exists() for name in kept)
