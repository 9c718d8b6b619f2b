"""Two sets of results in, one report out."""

from pathlib import Path

import pytest

from hetctl.bench.gate.gate import choose_configuration, choose_point, gate
from hetctl.bench.gate.report import GateReport
from hetctl.bench.gate.thresholds import default_thresholds, parse_thresholds
from hetctl.bench.results import Load
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.gate import noisy

DEFAULTS = default_thresholds(Load())
SOURCES = ("base", "current")


def test_a_slower_version_is_a_regression_in_every_metric() -> None:
    report = noisy.report(1.12)
    assert report.verdict == "regression"
    assert report.headline == "Regression in output_throughput, p50_ttft, p50_tpot."
    rate, ttft, _ = report.metrics
    assert rate.ratio == pytest.approx(1 / 1.12)
    assert ttft.ratio == pytest.approx(1.12)
    assert (len(rate.base), len(rate.current)) == (5, 5)
    assert (report.base.git_commit, report.current.git_commit) == ("c0ffee", "badcafe")
    assert report.notes == ()


@pytest.mark.parametrize(
    ("slowdown", "noise", "headline"),
    [
        (1.0, noisy.QUIET, "No regression."),
        (0.8, noisy.QUIET, "No regression, and an improvement in output_throughput, p50_ttft"),
        (1.0, noisy.WILD, "Not enough evidence on output_throughput, p50_ttft, p50_tpot."),
    ],
)
def test_the_headline_says_what_was_found(
    slowdown: float, noise: tuple[float, ...], headline: str
) -> None:
    assert noisy.report(slowdown, noise).headline.startswith(headline)


def test_the_report_survives_being_saved(tmp_path: Path) -> None:
    report = noisy.report()
    report.save(tmp_path / "gate.json")
    assert GateReport.load(tmp_path / "gate.json") == report


def test_only_the_metrics_that_are_asked_for_are_judged() -> None:
    report = gate(
        noisy.measured(),
        noisy.measured(1.1),
        parse_thresholds(["p99_e2el>1.5"]),
        sources=SOURCES,
    )
    assert [one.metric for one in report.metrics] == ["p99_e2el"]
    assert report.verdict == "ok"


def test_different_work_is_refused_unless_allowed_and_then_noted() -> None:
    other = noisy.measured(loads=(Load(seed=7),), commit="badcafe")
    with pytest.raises(UsageError, match="seed is 0 in BASE and 7 in CURRENT"):
        gate(noisy.measured(), other, DEFAULTS, sources=SOURCES)
    report = gate(noisy.measured(), other, DEFAULTS, sources=SOURCES, allowed={"seed", "hardware"})
    assert report.allowed == ("seed",)
    assert report.notes == (
        "Compared although they differ in seed: seed is 0 in BASE and 7 in CURRENT.",
    )


def test_two_checkouts_are_compared_although_hetctl_names_its_commit() -> None:
    sides = [
        choose_configuration(noisy.of_version(version, made), None, "x")
        for version, made in (
            ("0.2.1.dev3+gc0ffee", noisy.results()),
            ("0.2.1.dev4+gbadcafe", noisy.results(commit="badcafe", late_s=30)),
        )
    ]
    report = gate(*sides, DEFAULTS, sources=SOURCES)
    assert report.verdict == "ok"
    assert report.allowed == ()
    assert report.notes == (
        "hetctl is 0.2.1.dev3+gc0ffee in BASE and 0.2.1.dev4+gbadcafe in CURRENT.",
    )


def test_runs_that_did_not_take_turns_are_noted() -> None:
    later = noisy.measured(late_s=3600, commit="badcafe")
    (note,) = gate(noisy.measured(), later, DEFAULTS, sources=SOURCES).notes
    assert "All runs of one side came before those of the other" in note
    (note,) = gate(later, noisy.measured(), DEFAULTS, sources=SOURCES).notes
    assert "All runs of one side came before those of the other" in note


def test_equal_commits_and_different_plans_are_noted() -> None:
    made = noisy.results()
    hybrid = made.configurations[0].model_copy(update={"plan": sample.cpu_plan()})
    other = made.model_copy(update={"configurations": (hybrid, *made.configurations[1:])})
    report = gate(
        noisy.measured(), choose_configuration(other, None, "x"), DEFAULTS, sources=SOURCES
    )
    assert report.notes == (
        "The plans differ: 8+24 layers on cpu, cuda:0 in BASE and 32 layers on cpu in CURRENT.",
        "BASE and CURRENT are of the same commit c0ffee: what differs is noise.",
    )


def test_the_plan_under_test_is_compared_unless_another_is_named() -> None:
    made = noisy.results()
    assert choose_configuration(made, None, "x").configuration.name == "hybrid"
    runs = (*made.runs, sample.run("cpu"))
    named = choose_configuration(made.model_copy(update={"runs": runs}), "cpu", "x")
    assert [run.configuration for run in named.runs] == ["cpu"]


def test_a_sweep_is_compared_at_one_point() -> None:
    loads = Load(max_concurrency=1), Load(max_concurrency=4)
    runs = sample.run("hybrid", point="c1"), sample.run("hybrid", point="c4")
    sweep = sample.blank(loads=loads, runs=runs)
    chosen = choose_configuration(choose_point(sweep, "c4", "x"), None, "x")
    assert [run.point for run in chosen.runs] == ["c4"]
    with pytest.raises(UsageError, match=r"x holds a sweep over c1, c4; choose .* --point"):
        choose_point(sweep, None, "x")
    with pytest.raises(UsageError, match="x has no point 'c8'; it has c1, c4"):
        choose_point(sweep, "c8", "x")
    assert choose_point(noisy.results(), None, "x") == noisy.results()


def test_a_configuration_that_is_not_there_is_named() -> None:
    with pytest.raises(
        UsageError, match=r"x has no configuration 'gpu'; it has hybrid, cpu, gpu\+"
    ):
        choose_configuration(noisy.results(), "gpu", "x")
    with pytest.raises(UsageError, match="x holds no run of cpu"):
        choose_configuration(noisy.results(), "cpu", "x")
    with pytest.raises(UsageError, match="x holds no plan under test"):
        choose_configuration(sample.blank(sample.CPU), None, "x")
