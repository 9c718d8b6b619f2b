"""Marked runs are told, and leave doubt where they are many."""

from collections.abc import Collection, Sequence

import pytest

from hetctl.bench.circumstances import Aspect
from hetctl.bench.gate.gate import choose_configuration, gate
from hetctl.bench.gate.report import GateReport
from hetctl.bench.gate.thresholds import default_thresholds
from hetctl.bench.results import Load
from tests.bench.gate import noisy


def judged(
    base: Collection[int] = (),
    current: Collection[int] = (),
    slowdown: float = 1.12,
    noise: Sequence[float] = noisy.QUIET,
    allowed: Collection[Aspect] = (),
) -> GateReport:
    """What the gate says with a mark on these runs of the sides."""
    ones = noisy.disturbed(noisy.results(noise=noise), *base)
    others = noisy.disturbed(noisy.results(slowdown, noise, "badcafe", late_s=30), *current)
    sides = [choose_configuration(made, None, "x") for made in (ones, others)]
    thresholds = default_thresholds(Load())
    return gate(*sides, thresholds, sources=("a", "b"), allowed=allowed)


def test_one_disturbed_run_of_five_is_told_and_counts() -> None:
    report = judged(current=[3])
    assert report.verdict == "regression"
    assert report.notes == ("1 of 5 runs of CURRENT was disturbed (run 3: it was foreign load).",)


@pytest.mark.parametrize("side", ["base", "current"])
@pytest.mark.parametrize("slowdown", [0.8, 1.0, 1.12])
def test_two_of_five_on_a_side_leave_doubt_whatever_the_figures_say(
    side: str, slowdown: float
) -> None:
    report = judged(**{side: [2, 4]}, slowdown=slowdown)
    assert {one.verdict for one in report.metrics} == {"not enough evidence"}
    assert report.verdict == "not enough evidence"
    clause = f"2 of 5 runs of {side.upper()} were disturbed"
    assert report.metrics[0].reason == (
        f"{clause}; add runs, measure again, or say --allow disturbed."
    )
    assert report.notes[-1] == f"{clause} (run 2: it was foreign load)."
    assert report.metrics[0].ratio is not None, "the figures stay"
    assert report.allowed == ()


def test_they_count_when_they_are_allowed_and_are_told_all_the_same() -> None:
    report = judged(current=[2, 4], allowed={"disturbed"})
    assert report.verdict == "regression"
    assert report.allowed == ("disturbed",)
    assert "2 of 5 runs of CURRENT were disturbed" in report.notes[-1]
    assert judged(allowed={"disturbed"}).allowed == (), "there was nothing to allow"


def test_more_runs_make_good_for_what_was_disturbed() -> None:
    ten = [*noisy.QUIET, *noisy.QUIET]
    assert judged(current=[2, 4], noise=ten).verdict == "regression"
    assert judged(current=[2, 4, 7], noise=ten).verdict == "not enough evidence"


def test_with_too_few_runs_their_number_is_what_is_told() -> None:
    report = judged(base=[1, 2], noise=noisy.QUIET[:3])
    assert "too few to tell from noise" in report.metrics[0].reason


def test_each_kind_of_mark_is_told_once() -> None:
    made = noisy.disturbed(noisy.disturbed(noisy.results(), 1, 2), 5, kind="throttling")
    side = choose_configuration(made, None, "x")
    report = gate(side, side, default_thresholds(Load()), sources=("a", "b"))
    assert "3 of 5 runs of BASE were disturbed (run 5: it was throttling; run 1: it" in " ".join(
        report.notes
    )
