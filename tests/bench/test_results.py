"""The document that everything after the measurement is made from."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from hetctl.bench.results import Configuration, FailedRun, Load, Outside, Results, Slo
from hetctl.errors import UsageError
from tests.bench import sample

C1, C8 = Load(max_concurrency=1), Load(max_concurrency=8)


def sweep() -> Results:
    return sample.blank(
        loads=(C1, C8),
        runs=tuple(
            sample.run(name, repeat, point=point)
            for repeat in (1, 2)
            for name in ("hybrid", "cpu")
            for point in ("c1", "c8")
        ),
        failed=(
            FailedRun(
                configuration="gpu+prefetch",
                repeat=1,
                point="c1",
                phase="load",
                reason="a",
                log="x",
            ),
            FailedRun(
                configuration="gpu+prefetch",
                repeat=1,
                point=None,
                phase="server",
                reason="b",
                log="x",
            ),
        ),
        repeats=2,
    )


def test_a_sweep_is_the_same_after_a_round_trip_through_the_file(tmp_path: Path) -> None:
    made = sweep()
    made.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == made


def test_a_point_has_its_load_its_runs_and_the_failures_that_concern_it() -> None:
    at = sweep().at("c8")
    assert at.offered_load == C8
    assert {run.point for run in at.runs} == {"c8"}
    assert len(at.runs) == 4
    assert [failure.reason for failure in at.failed] == ["b"]
    assert [run.repeat for run in sweep().runs_of("cpu", "c1")] == [1, 2]
    with pytest.raises(KeyError):
        sweep().at("c2")


def test_several_points_have_no_one_load() -> None:
    with pytest.raises(ValueError, match="too many values"):
        _ = sweep().offered_load


@pytest.mark.parametrize(
    ("load", "point"),
    [
        (Load(max_concurrency=16), "c16"),
        (Load(max_concurrency=None, request_rate=2.5), "r2.5"),
        (Load(max_concurrency=4, request_rate=10), "r10-c4"),
        (Load(max_concurrency=None), "all-at-once"),
    ],
)
def test_a_point_is_named_after_its_load(load: Load, point: str) -> None:
    assert load.point == point


def test_two_points_or_configurations_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="two points have the same name among c8, c8"):
        sample.blank(loads=(C8, C8.model_copy(update={"seed": 1})))
    with pytest.raises(ValidationError, match="two configurations have the same name"):
        sample.blank(sample.CPU, sample.CPU)


def test_a_configuration_is_started_here_or_comes_from_outside() -> None:
    fields = {"name": "other", "title": "t", "role": "baseline", "why": "w"}
    outside = Outside(engine="llama.cpp", model_name="m", url="http://127.0.0.1:1")
    assert Configuration.model_validate(fields | {"outside": outside}).model_name == "m"
    for wrong in ({}, {"outside": outside, "command": sample.command()}):
        with pytest.raises(ValidationError, match="has a command or is from outside"):
            Configuration.model_validate(fields | wrong)


def test_only_the_limits_that_are_set_count() -> None:
    assert Slo().limits_s == {}
    assert Slo(ttft_s=2, e2el_s=30).limits_s == {"ttft": 2, "e2el": 30}


def test_results_of_a_newer_version_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    data = json.loads(sweep().to_json()) | {"schema_version": 4}
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=r"results\.json has hetctl\.results schema version 4"):
        Results.load(path)


def test_results_that_were_cut_short_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(sweep().to_json()[:900])
    with pytest.raises(UsageError, match=r"results\.json is not valid JSON"):
        Results.load(path)
