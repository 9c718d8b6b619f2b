"""A file that several jobs append to, and that is read whatever became of it."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from hetctl.bench.gate.history import HISTORY_FILE, Entry, History, append, entry_of, read
from hetctl.bench.metrics import ALL_METRICS
from hetctl.errors import HetctlError
from tests.bench.gate import noisy


def entry(commit: str = "c0ffee", slowdown: float = 1.0) -> Entry:
    return entry_of(noisy.measured(slowdown, commit=commit))


def test_an_entry_keeps_every_run_of_every_metric() -> None:
    kept = entry()
    assert kept.figures.keys() == {metric.key for metric in ALL_METRICS}
    assert kept.figures["output_throughput"] == pytest.approx([100 / one for one in noisy.QUIET])
    assert (kept.git_commit, kept.fingerprint, kept.configuration) == ("c0ffee", "f00d", "hybrid")


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    entries = [entry(commit) for commit in ("a", "b", "c")]
    for one in entries:
        append(tmp_path / "new", one)
    assert read(tmp_path / "new") == History(tuple(entries))


def test_no_history_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere") == History(())


def test_the_same_results_are_kept_once(tmp_path: Path) -> None:
    for _ in range(2):
        append(tmp_path, entry())
    assert len(read(tmp_path).entries) == 1
    append(tmp_path, entry(slowdown=1.1))
    assert len(read(tmp_path).entries) == 2


@pytest.mark.parametrize(
    "damage", [b'{"kind": "hetctl.his', b"\xff\xfe\x00", b"null", b"[]", b'{"a": 1}']
)
def test_a_damaged_line_is_passed_over_and_reported(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / HISTORY_FILE
    append(tmp_path, entry("a"))
    path.write_bytes(path.read_bytes() + damage + b"\n")
    append(tmp_path, entry("b"))
    history = read(tmp_path)
    assert [one.git_commit for one in history.entries] == ["a", "b"]
    (problem,) = history.unreadable
    assert f"{path}, line 2 was passed over" in problem
    assert damage in path.read_bytes()


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path: Path) -> None:
    """A writer that was killed leaves no line end."""
    path = tmp_path / HISTORY_FILE
    append(tmp_path, entry("a"))
    append(tmp_path, entry("b"))
    path.write_bytes(path.read_bytes()[:-40])
    append(tmp_path, entry("c"))
    history = read(tmp_path)
    assert [one.git_commit for one in history.entries] == ["a", "c"]
    assert len(history.unreadable) == 1


def test_an_entry_of_a_later_version_is_reported(tmp_path: Path) -> None:
    append(tmp_path, entry())
    path = tmp_path / HISTORY_FILE
    path.write_text(path.read_text().replace('"schema_version":1', '"schema_version":2'))
    assert read(tmp_path).entries == ()
    assert len(read(tmp_path).unreadable) == 1


def _append_many(folder: Path, writer: str, start: Barrier) -> None:
    for number in range(20):
        start.wait(30)
        append(folder, entry(f"{writer}-{number}"))


@pytest.mark.parametrize("writers", [("a", "b", "c", "d"), ("same", "same", "same", "same")])
def test_writers_at_the_same_time_lose_nothing_and_double_nothing(
    tmp_path: Path, writers: tuple[str, ...]
) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(len(writers))
    jobs = [context.Process(target=_append_many, args=(tmp_path, w, start)) for w in writers]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
        assert job.exitcode == 0
    history = read(tmp_path)
    assert history.unreadable == ()
    assert sorted(str(one.git_commit) for one in history.entries) == sorted(
        f"{writer}-{number}" for writer in set(writers) for number in range(20)
    )


def test_a_history_that_cannot_be_written_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / HISTORY_FILE).mkdir()
    with pytest.raises(HetctlError, match=f"Cannot write .*{HISTORY_FILE}"):
        append(tmp_path, entry())
    with pytest.raises(HetctlError, match=f"Cannot read .*{HISTORY_FILE}"):
        read(tmp_path)
