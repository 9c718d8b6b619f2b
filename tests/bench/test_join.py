"""Folders put together: only what belongs together, with every name and file still right."""

from datetime import timedelta
from pathlib import Path

import pytest

from hetctl.bench.findings import findings
from hetctl.bench.html.page import to_html
from hetctl.bench.join import Part, join
from hetctl.bench.results import Load, Results, Run
from hetctl.bench.summary import summarise
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.gate import noisy


def results(hours: int = 0, rate: float = 100, **changes: object) -> Results:
    """Of a plan and a baseline, measured so many hours later."""
    runs = tuple(
        later(sample.run(name, repeat, sample.measurement(value)), hours)
        for repeat in (1, 2)
        for name, value in (("hybrid", rate), ("cpu", 20))
    )
    fields = {"runs": runs, "repeats": 2, "duration_s": 10.0} | changes
    return sample.blank(sample.HYBRID, sample.CPU, **fields)


def later(run: Run, hours: int) -> Run:
    return run.model_copy(update={"started": run.started + timedelta(hours=hours)})


def parts(tmp_path: Path, *each: Results) -> list[Part]:
    names = ("Base Run", "new", "x", "y")
    return [Part(tmp_path / name, one) for name, one in zip(names, each, strict=False)]


def test_names_that_clash_get_their_folder_and_the_first_plan_is_under_test(tmp_path: Path) -> None:
    found = join(parts(tmp_path, results(rate=120), results()), tmp_path / "out")
    assert [one.name for one in found.configurations] == [
        "hybrid.base-run",
        "cpu.base-run",
        "hybrid.new",
        "cpu.new",
    ]
    assert [one.role for one in found.configurations] == ["plan", *["baseline"] * 3]
    summary = summarise(found)
    assert summary.plan is not None
    assert summary.plan.name == "hybrid.base-run"
    assert summary.reference is not None
    assert summary.reference.name == "hybrid.new"
    assert len(found.runs) == 8
    assert found.duration_s == 20
    assert found == Results.parse(found.to_json(), "x"), "it can be saved and read"


def test_names_that_do_not_clash_stay(tmp_path: Path) -> None:
    other = sample.blank(sample.PREFETCH, runs=(sample.run("gpu+prefetch"),))
    found = join(parts(tmp_path, results(), other), tmp_path / "out")
    assert [one.name for one in found.configurations] == ["hybrid", "cpu", "gpu+prefetch"]


def test_folders_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "a/run", tmp_path / "b/run"
    found = join([Part(one, results()), Part(other, results())], tmp_path)
    assert [c.name for c in found.configurations if c.name.startswith("hybrid")] == [
        "hybrid.run",
        "hybrid.run-2",
    ]


def test_files_are_named_as_seen_from_the_joined_report(tmp_path: Path) -> None:
    each = parts(tmp_path, results(), results())
    raw = each[1].folder / each[1].results.runs[0].raw_result
    raw.parent.mkdir(parents=True)
    raw.write_text("requests")
    out = tmp_path / "deep/out"
    out.mkdir(parents=True)
    run = join(each, out).runs_of("hybrid.new")[0]
    assert (out / run.raw_result).read_text() == "requests"
    assert run.telemetry is None


def test_other_hardware_or_software_is_refused_unless_allowed_and_then_warned_of(
    tmp_path: Path,
) -> None:
    other = results()
    versions = other.environment.versions.model_copy(update={"vllm": "0.27.0"})
    other = other.model_copy(
        update={"environment": other.environment.model_copy(update={"versions": versions})}
    )
    each = parts(tmp_path, results(), other)
    with pytest.raises(UsageError, match=r"(?s)versions: vllm is 0.26.0 in .*say --allow versions"):
        join(each, tmp_path)
    found = join(each, tmp_path, {"versions"})
    (warning,) = [one.text for one in findings(found) if "0.27.0" in one.text]
    assert warning.startswith("Joined with care: vllm is 0.26.0")


def test_another_version_of_hetctl_is_told_and_puts_nothing_in_doubt(tmp_path: Path) -> None:
    each = parts(tmp_path, results(), noisy.of_version("0.2.1.dev4+gbadcafe", results()))
    found = join(each, tmp_path)
    told = [one for one in findings(found) if "versions of hetctl" in one.text]
    assert [one.level for one in told] == ["note"]
    assert f"0.1.0 in {each[0].folder}, 0.2.1.dev4+gbadcafe in {each[1].folder}" in told[0].text
    assert "0.2.1.dev4+gbadcafe, started" in to_html(found)
    same = join(parts(tmp_path, results(), results()), tmp_path)
    assert not any("versions of hetctl" in one.text for one in findings(same))


@pytest.mark.parametrize("field", ["input_len", "seed"])
def test_other_requests_are_refused_whatever_is_allowed(tmp_path: Path, field: str) -> None:
    load = Load().model_copy(update={field: 7})
    each = parts(tmp_path, results(), results(loads=(load,)))
    with pytest.raises(UsageError, match="cannot be joined"):
        join(each, tmp_path, {"workload", "seed"})
    elsewhere = load.model_copy(update={"max_concurrency": 2})
    run = sample.run("hybrid", point=elsewhere.point)
    each = parts(tmp_path, results(), results(loads=(elsewhere,), runs=(run,)))
    with pytest.raises(UsageError, match="cannot be joined"):
        join(each, tmp_path)


def test_points_of_two_sweeps_become_one(tmp_path: Path) -> None:
    light, heavy = Load(max_concurrency=2, num_prompts=8), Load(max_concurrency=16)
    run = sample.run("hybrid", point=light.point)
    wide = results(loads=(Load(), heavy))
    narrow = results(loads=(light, Load()), runs=(run,))
    found = join(parts(tmp_path, wide, narrow), tmp_path)
    assert [load.point for load in found.loads] == ["c2", "c8", "c16"]


def test_results_that_were_not_measured_in_turns_are_warned_of(tmp_path: Path) -> None:
    def doubted(*each: Results) -> bool:
        found = findings(join(parts(tmp_path, *each), tmp_path))
        return any("not measured in turns" in one.text for one in found)

    assert doubted(results(), results(hours=5))
    turns = (*results().runs, *results(hours=9).runs)
    assert not doubted(results(runs=turns), results(hours=5))
