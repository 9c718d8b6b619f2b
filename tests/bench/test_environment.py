"""Which commit the figures belong to."""

import subprocess
from pathlib import Path

from hetctl import __version__
from hetctl.bench.environment import describe_environment
from tests.bench import sample


def git(folder: Path, *args: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    command = ["git", "-C", str(folder), *identity, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_commit_and_uncommitted_changes_are_told(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    git(tmp_path, "tag", "v1", "--annotate", "--message", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert describe_environment(sample.machine(), tmp_path).git_commit == head
    (tmp_path / "file").write_text("2")
    assert describe_environment(sample.machine(), tmp_path).git_commit == f"{head}-dirty"


def test_outside_a_repository_there_is_no_commit(tmp_path: Path) -> None:
    environment = describe_environment(sample.machine(), tmp_path)
    assert environment.git_commit is None
    assert environment.versions.hetctl == __version__
    assert environment.versions.driver == "550.54"
