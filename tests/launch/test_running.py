"""A running server is found by its record, and only while it runs."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from hetctl.launch.running import published, records_folder, running_servers
from hetctl.server_record import ServerRecord
from tests.bench import sample


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def record(pid: int, hour: int = 1) -> ServerRecord:
    return ServerRecord(
        pid=pid,
        pid_created_s=psutil.Process(pid).create_time(),
        started=datetime(2026, 1, 1, hour, tzinfo=UTC),
        base_url="http://127.0.0.1:8000",
        model_name="m",
        plan=sample.plan(sample.rank(0, "cpu", (0, 32), 24)),
        log=Path("log"),
    )


def test_a_server_is_found_while_it_runs() -> None:
    mine = record(os.getpid())
    assert running_servers() == ()
    with published(mine):
        assert running_servers() == (mine,)
    assert running_servers() == ()
    assert list(records_folder().iterdir()) == []


def test_the_oldest_comes_first() -> None:
    with published(record(os.getpid(), hour=2)), published(record(os.getppid(), hour=1)):
        assert [found.pid for found in running_servers()] == [os.getppid(), os.getpid()]


def test_the_record_of_a_killed_server_is_removed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
    left = record(process.pid)
    process.kill()
    process.communicate()
    left.save(records_folder() / f"{process.pid}.json")
    assert running_servers() == ()
    assert list(records_folder().iterdir()) == []


def test_another_process_with_the_same_id_is_no_server() -> None:
    mine = record(os.getpid())
    old = mine.model_copy(update={"pid_created_s": mine.pid_created_s - 60})
    old.save(records_folder() / f"{os.getpid()}.json")
    assert running_servers() == ()


def test_a_record_of_another_version_is_passed_over_and_kept() -> None:
    path = records_folder() / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"kind": "hetctl.server", "schema_version": 99}')
    assert running_servers() == ()
    assert path.exists()
