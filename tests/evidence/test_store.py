"""Runs are kept per machine, whatever happens to the file."""

import multiprocessing
from pathlib import Path

import pytest

from hetctl.errors import HetctlError
from hetctl.evidence.runs_path import runs_path
from hetctl.evidence.store import keep, kept
from tests.evidence.records import record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hetctl" / "runs" / "test.jsonl"


def test_a_machine_without_runs_has_none() -> None:
    assert kept("test").entries == ()


def test_runs_are_read_as_they_were_kept(cache: Path) -> None:
    runs = [record(1.1, number=i) for i in range(3)]
    for run in runs:
        keep(run)
    assert runs_path("test") == cache
    assert kept("test").entries == tuple(runs)
    assert kept("other").entries == ()


def test_a_run_is_kept_once() -> None:
    keep(record())
    keep(record())
    assert len(kept("test").entries) == 1


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (b'{"kind": "hetctl.run_rec', "not valid JSON"),
        (b"\xff\xfe", "codec"),
        (b'{"kind": "hetctl.plan"}', "not a hetctl.run_record file"),
        (b'{"kind": "hetctl.run_record", "schema_version": 9}', "schema version 9"),
    ],
)
def test_a_damaged_line_is_named_and_costs_only_itself(
    cache: Path, damage: bytes, named: str
) -> None:
    keep(record(number=1))
    cache.write_bytes(cache.read_bytes() + damage)
    keep(record(number=2))
    found = kept("test")
    assert [run.started.second for run in found.entries] == [6, 7]
    (problem,) = found.unreadable
    assert f"{cache}, line 2 was passed over" in problem
    assert named in problem
    assert damage in cache.read_bytes()


def _keep_many(session: str) -> None:
    for number in range(15):
        keep(record(session=session, number=number))


def test_benchmarks_at_the_same_time_lose_nothing() -> None:
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_keep_many, args=(name,)) for name in "abcd"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
        assert job.exitcode == 0
    found = kept("test")
    assert found.unreadable == ()
    assert len(found.entries) == 60


def test_runs_of_another_machine_are_refused(cache: Path) -> None:
    keep(record())
    cache.rename(cache.with_name("other.jsonl"))
    with pytest.raises(HetctlError, match=r"holds runs of another machine \(test\)"):
        kept("other")
