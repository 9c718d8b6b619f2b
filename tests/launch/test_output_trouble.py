"""A log that cannot be written costs its lines, is told of once, and stops nothing."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hetctl.launch.output.rank_logs import RankLogs
from hetctl.launch.output.record import Record

LOG = "serve-8000.log"
_MOST_S = 30


class _Speaker:
    """A process that writes what it is told to, into an output, and has to be heard."""

    def __init__(self, output: RankLogs) -> None:
        self._output = output
        code = "import os\nwhile data := os.read(0, 65536): os.write(1, data)"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=output.open()
        )
        output.started()

    def say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()
        time.sleep(0.1)
        assert self._output.drained(20)

    def end(self) -> None:
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0
        self._output.close(20)

    def say_until(self, event: str, records: list[Record]) -> None:
        """Say something again and again until hetctl noticed ``event``."""
        give_up = time.monotonic() + _MOST_S
        while event not in events(records):
            assert time.monotonic() < give_up
            self.say(b"again\n")


def events(records: list[Record]) -> list[str]:
    return [record.event for record in records if record.event]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, b"size=64k"):
        pytest.skip(f"cannot mount a file system here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(bytes(folder), 2)


def test_a_full_disk_is_told_of_and_so_is_its_end(small_disk: Path) -> None:
    records: list[Record] = []
    output = RankLogs(small_disk / LOG, on_record=records.append)
    speaker = _Speaker(output)
    for _ in range(3):
        speaker.say((b"x" * 99 + b"\n") * 400)
    size_bytes = (small_disk / LOG).stat().st_size
    assert size_bytes == 64 * 1024
    os.truncate(small_disk / LOG, 32 * 1024 - 10)
    speaker.say_until("log-writable", records)
    speaker.say(b"goes on\n")
    speaker.end()
    assert events(records) == ["log-unwritable", "log-writable"]
    assert (
        "No space left on device"
        in records[[r.event for r in records].index("log-unwritable")].message
    )
    # Also the line that was torn is told from what comes after it.
    torn, note, again, last = (small_disk / LOG).read_bytes()[32 * 1024 - 10 :].splitlines()
    assert torn == b""
    lost = next(r for r in records if r.event == "log-writable").fields["lost_bytes"]
    assert note == f"[hetctl: {lost} bytes are missing here: No space left on device]".encode()
    assert (again, last) == (b"again", b"goes on")


def test_a_device_that_is_full_is_told_of_once_and_neither_rotated_nor_split(
    tmp_path: Path,
) -> None:
    (tmp_path / LOG).symlink_to("/dev/full")
    records: list[Record] = []
    output = RankLogs(tmp_path / LOG, limit_bytes=1024, on_record=records.append)
    speaker = _Speaker(output)
    for _ in range(3):
        speaker.say(b"(Worker pid=3) INFO 11-30 18:00:00 [a.py:1] x\n" * 100)
    speaker.end()
    assert events(records) == ["log-unwritable"]
    assert len([r for r in records if r.rank == 0]) == 300
    assert [path.name for path in tmp_path.iterdir()] == [LOG]
    assert (tmp_path / LOG).is_symlink()


@pytest.mark.parametrize("blocked", [False, True])
def test_a_folder_that_was_deleted_is_made_again_when_it_can_be(
    blocked: bool, tmp_path: Path
) -> None:
    folder, records = tmp_path / "logs", list[Record]()
    output = RankLogs(folder / LOG, on_record=records.append)
    speaker = _Speaker(output)
    speaker.say(b"first\n")
    (folder / LOG).unlink()
    folder.rmdir()
    if blocked:
        folder.touch()
        speaker.say_until("log-unwritable", records)
        folder.unlink()
        speaker.say_until("log-writable", records)
    give_up = time.monotonic() + _MOST_S
    while not (folder / LOG).exists():
        assert time.monotonic() < give_up
        speaker.say(b"again\n")
    speaker.say(b"last\n")
    speaker.end()
    assert (folder / LOG).read_bytes().endswith(b"last\n")
    assert events(records) == ["log-unwritable", "log-writable"] * blocked


def test_a_file_that_cannot_be_set_aside_keeps_to_its_limit(tmp_path: Path) -> None:
    """As with a folder that has become read-only: no file can be renamed."""
    (tmp_path / f"{LOG}.1").mkdir()
    (tmp_path / f"{LOG}.1" / "not-empty").touch()
    records: list[Record] = []
    output = RankLogs(tmp_path / LOG, limit_bytes=1024, kept=1, on_record=records.append)
    speaker = _Speaker(output)
    for _ in range(10):
        speaker.say(b"x" * 300 + b"\n")
    speaker.end()
    assert events(records) == ["log-unwritable"]
    assert (tmp_path / LOG).stat().st_size == 903


def test_the_first_start_tells_that_its_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        RankLogs(tmp_path / "file" / LOG).open()


def test_a_later_start_runs_without_its_log(tmp_path: Path) -> None:
    records: list[Record] = []
    folder = tmp_path / "logs"
    output = RankLogs(folder / LOG, on_record=records.append)
    _Speaker(output).end()
    (folder / LOG).unlink()
    folder.rmdir()
    folder.touch()
    speaker = _Speaker(output)
    speaker.say(b"nobody hears\n")
    speaker.end()
    assert [record.event or record.message for record in records] == [
        "log-unwritable",
        "nobody hears",
    ]
