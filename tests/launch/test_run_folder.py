"""A run's temporary folder goes with the run, or with the next one."""

import os
import subprocess
import sys
from pathlib import Path

from hetctl.launch.run_folder import RunFolder

KILLED = """
import os, sys
from pathlib import Path
from hetctl.launch.run_folder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
(folder.path / "socket").touch()
print(folder.path, flush=True)
os.kill(os.getpid(), 9)
"""


def killed_run(parent: Path) -> Path:
    """The folder that a killed run left."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    return Path(done.stdout.strip())


def test_a_folder_is_gone_once_its_run_has_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_removes_the_folder_of_a_killed_one(tmp_path: Path) -> None:
    left = killed_run(tmp_path)
    assert left.exists()
    RunFolder(tmp_path).remove()
    assert not left.exists()


def test_a_folder_in_use_stays_also_when_only_the_server_is_left(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=(first.lock,))
    os.close(first.lock)  # hetctl is gone
    RunFolder(tmp_path).remove()
    assert first.path.exists()
    server.communicate(b"\n")
    RunFolder(tmp_path).remove()
    assert not first.path.exists()


def test_a_folder_of_another_program_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "hetctl-notes"
    other.mkdir()
    RunFolder(tmp_path).remove()
    assert other.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (tmp_path / "hetctl-link").symlink_to(elsewhere)
    RunFolder(tmp_path).remove()
    assert (elsewhere / "lock").exists()
