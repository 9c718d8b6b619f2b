"""What a rank counts is what readers find, whatever state its file is in."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vllm_hetero.metrics import record
from vllm_hetero.metrics.process import process_use, started_ticks
from vllm_hetero.metrics.record import RankRecord, Word


def test_a_word_is_told_once_it_was_set(tmp_path: Path) -> None:
    record.create(tmp_path, 3)
    assert record.read(tmp_path, 3) == {}
    own = RankRecord(tmp_path, 3)
    own.set(Word.STEPS, 0)
    own.add(Word.STEPS, 1)
    own.add(Word.STEPS, 2)
    told = record.read(tmp_path, 3)
    assert told.pop(Word.STARTED_TICKS) == started_ticks(os.getpid())
    assert told == {Word.PID: os.getpid(), Word.STEPS: 3}


def test_what_is_counted_in_another_process_is_seen_at_once(tmp_path: Path) -> None:
    record.create(tmp_path, 0)
    code = (
        "import sys\n"
        "from vllm_hetero.metrics.record import RankRecord, Word\n"
        "own = RankRecord(sys.argv[1], 0)\n"
        "own.set(Word.TOKENS, 1 << 40)\n"
        "print(flush=True)\n"
        "input()\n"
    )
    rank = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with rank:
        assert rank.stdout is not None
        rank.stdout.readline()
        told = record.read(tmp_path, 0)
        assert told[Word.TOKENS] == 1 << 40
        assert told[Word.PID] == rank.pid
        rank.communicate(b"\n")


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        record.create(tmp_path, 0)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "rank-0").stat().st_mode) == 0o600


def test_a_rank_that_starts_again_begins_anew_and_the_old_one_does_no_harm(tmp_path: Path) -> None:
    record.create(tmp_path, 0)
    old = RankRecord(tmp_path, 0)
    record.create(tmp_path, 0)
    old.set(Word.STEPS, 7)
    assert record.read(tmp_path, 0) == {}


def test_a_file_that_is_cut_short_or_gone_tells_nothing(tmp_path: Path) -> None:
    record.create(tmp_path, 0)
    file = tmp_path / "rank-0"
    file.write_bytes(file.read_bytes()[:-1])
    assert record.read(tmp_path, 0) == {}
    file.unlink()
    assert record.read(tmp_path, 0) == {}
    with pytest.raises(OSError, match="rank-0"):
        RankRecord(tmp_path, 0)


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    started = started_ticks(os.getpid())
    use = process_use(os.getpid(), started)
    assert use is not None
    assert use.resident_bytes > 1 << 20
    assert use.cpu_s > 0
    # Another process that got the number has another start.
    assert process_use(os.getpid(), (started or 0) + 1) is None
    assert started_ticks(2**22 + 1) is None
    assert process_use(2**22 + 1, started) is None


def test_a_name_with_brackets_and_spaces_is_no_field(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    numbers = " ".join(map(str, range(4, 53)))
    (tmp_path / "7/stat").write_text(f"7 (a) S) ) S {numbers}\n")
    # proc(5) counts from 1: the start is field 22, the times are 14 and 15, the pages 24.
    assert started_ticks(7, tmp_path) == 22
    use = process_use(7, 22, tmp_path)
    assert use is not None
    assert use.cpu_s == pytest.approx((14 + 15) / os.sysconf("SC_CLK_TCK"))
    assert use.resident_bytes == 24 * os.sysconf("SC_PAGE_SIZE")
