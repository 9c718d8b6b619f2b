"""The software side of a benchmark's circumstances."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hetctl import __version__
from hetctl.bench.results import Environment, Versions
from hetctl.machine import Machine

_GIT_TIMEOUT_S = 5


def describe_environment(machine: Machine, folder: Path) -> Environment:
    """This process's environment, now; ``folder`` is where a git commit is looked for."""
    return Environment(
        machine=machine,
        versions=Versions(
            hetctl=__version__,
            vllm=_installed("vllm"),
            torch=_installed("torch"),
            python=platform.python_version(),
            driver=machine.driver_version,
        ),
        git_commit=_git_commit(folder),
        argv=("hetctl", *sys.argv[1:]),
        started=datetime.now(UTC).replace(microsecond=0),
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git_commit(folder: Path) -> str | None:
    """The commit checked out in ``folder``, or None outside of a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    # Tags would replace the commit's hash.
    command += ["--exclude", "*"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
