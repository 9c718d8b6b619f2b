"""From the runs of one metric to a verdict."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.bench.gate.decision import MIN_RUNS, Verdict, decide, worst
from hetctl.bench.gate.thresholds import parse_threshold
from tests.bench.gate.noisy import QUIET, WILD

RATE = parse_threshold("output_throughput<0.95")
LATENCY = parse_threshold("p50_ttft>1.05")


def verdict(slowdown: float, noise: Sequence[float] = QUIET, threshold: str = "rate") -> Verdict:
    """Of a current version so much slower, for a rate and for a latency the same."""
    seconds = [slowdown * one for one in reversed(noise)]
    if threshold == "rate":
        return decide(RATE, [1 / one for one in noise], [1 / one for one in seconds]).verdict
    return decide(LATENCY, list(noise), seconds).verdict


@pytest.mark.parametrize("threshold", ["rate", "latency"])
@pytest.mark.parametrize(
    ("slowdown", "noise", "expected"),
    [
        (1.00, QUIET, "ok"),
        (1.02, QUIET, "ok"),
        (1.10, QUIET, "regression"),
        (0.90, QUIET, "improvement"),
        # Faster, but by less than the threshold.
        (0.98, QUIET, "ok"),
        # Not told from the threshold itself.
        (1.05, QUIET, "not enough evidence"),
        (1.00, WILD, "not enough evidence"),
        # Beyond the threshold, but so are equal servers on this machine.
        (1.08, WILD, "not enough evidence"),
        (1.50, WILD, "regression"),
    ],
)
def test_the_rule(
    slowdown: float, noise: Sequence[float], expected: Verdict, threshold: str
) -> None:
    assert verdict(slowdown, noise, threshold) == expected


def test_passing_takes_less_confidence_than_failing() -> None:
    """The 99% interval of these reaches beyond the threshold, the 90% interval does not."""
    noise = (0.97, 1.035, 1.0, 0.985, 1.015)
    decision = decide(LATENCY, noise, noise)
    assert decision.evidence is not None
    assert decision.evidence.clear_interval[1] < LATENCY.limit < decision.evidence.alarm_interval[1]
    assert decision.verdict == "ok"


def test_four_runs_prove_nothing_however_slow() -> None:
    decision = decide(LATENCY, QUIET[:4], [10 * one for one in QUIET])
    assert decision.verdict == "not enough evidence"
    assert decision.reason.startswith("4 and 5 runs are too few")
    assert str(MIN_RUNS) in decision.reason


def test_a_figure_of_zero_has_no_ratio() -> None:
    decision = decide(LATENCY, [0.0] * 5, list(QUIET))
    assert (decision.verdict, decision.evidence) == ("not enough evidence", None)
    assert "has no ratio" in decision.reason


def test_the_reason_names_the_interval_that_decided() -> None:
    def reason(slowdown: float, noise: Sequence[float]) -> str:
        return decide(LATENCY, list(noise), [slowdown * one for one in noise]).reason

    assert (
        reason(1.2, QUIET)
        == "The ratio is beyond p50_ttft>1.05, and the 99% interval leaves out 1."
    )
    assert reason(1.0, QUIET) == "The 90% interval ends before the threshold."
    assert reason(1.0, WILD) == "The 90% interval reaches beyond p50_ttft>1.05."
    assert reason(1.08, WILD) == "The ratio is beyond p50_ttft>1.05, but the 99% interval holds 1."


@given(st.lists(st.floats(0.8, 1.25), min_size=5, max_size=8), st.floats(0.5, 2.0))
def test_a_rate_and_its_inverse_get_the_same_verdict(noise: list[float], slowdown: float) -> None:
    """Same runs, looked at as tokens per second and as seconds per token."""
    # Limits that no drawn ratio meets exactly, for rounding would decide then.
    rate = parse_threshold("output_throughput<0.7907")
    latency = parse_threshold(f"p50_tpot>{1 / 0.7907}")
    seconds = [slowdown * one for one in noise]
    # An odd number of runs, for the mean of two middle rates is not that of two latencies.
    base, current = noise[: len(noise) // 2 * 2 - 1], seconds[: len(noise) // 2 * 2 - 1]
    as_rate = decide(rate, [1 / one for one in base], [1 / one for one in current])
    assert as_rate.verdict == decide(latency, base, current).verdict


def test_one_regression_fails_all_and_one_doubt_leaves_doubt() -> None:
    assert worst(["ok", "not enough evidence", "regression"]) == "regression"
    assert worst(["improvement", "not enough evidence", "ok"]) == "not enough evidence"
    assert worst(["ok", "improvement"]) == "improvement"
    assert worst(["ok", "ok"]) == "ok"
