"""Doubtful measurements are flagged."""

from hetctl.bench.findings import findings
from hetctl.bench.results import FailedRun, Load, Results
from tests.bench import sample


def warnings(results: Results) -> list[str]:
    return [one.text for one in findings(results) if one.level == "warning"]


def notes(results: Results) -> list[str]:
    return [one.text for one in findings(results) if one.level == "note"]


def test_a_clean_comparison_has_no_warning() -> None:
    assert warnings(sample.results()) == []


def test_different_input_tokens_are_flagged_with_the_totals() -> None:
    other = sample.measurement(input_tokens=16000)
    (warning,) = warnings(sample.results(runs=(sample.run("hybrid"), sample.run("cpu", 1, other))))
    assert "input tokens differ" in warning
    assert "hybrid (repeat 1): 16,384, cpu (repeat 1): 16,000" in warning


def test_different_output_tokens_are_flagged() -> None:
    other = sample.measurement(output_tokens=4000)
    found = warnings(sample.results(runs=(sample.run("hybrid"), sample.run("cpu", 1, other))))
    assert any("output tokens differ" in warning for warning in found)
    assert any("cpu (repeat 1) generated 4,000 tokens, not the 4,096" in one for one in found)


def test_failed_requests_are_flagged_once_not_as_different_work() -> None:
    partial = sample.measurement(
        completed=30, failed=2, input_tokens=30 * 512, output_tokens=30 * 128, errors=("boom",)
    )
    (warning,) = warnings(
        sample.results(runs=(sample.run("hybrid"), sample.run("cpu", 1, partial)))
    )
    assert "2 of 32 requests failed (boom)" in warning


def test_failed_configurations_and_interruption_are_flagged() -> None:
    failure = FailedRun(
        configuration="cpu", repeat=1, point=None, phase="server", reason="out of memory", log="x"
    )
    found = warnings(
        sample.results(runs=(sample.run("hybrid"),), failed=(failure,), interrupted=True)
    )
    assert found[0].startswith("Interrupted after 1 of 3 runs")
    assert "cpu failed in repeat 1 (server)" in found[1]
    assert "out of memory" in found[1]


def test_a_single_repeat_says_that_there_is_no_interval() -> None:
    assert any("no confidence interval" in note for note in notes(sample.results()))
    repeats = tuple(sample.run("hybrid", repeat) for repeat in (1, 2, 3))
    found = notes(sample.results(runs=repeats, repeats=3))
    assert not any("no confidence interval" in note for note in found)
    assert any("95% confidence intervals" in note for note in found)


def test_few_requests_make_p99_the_slowest_one() -> None:
    assert any("p99" in note for note in notes(sample.results()))
    many = sample.results(loads=(Load(num_prompts=100),))
    assert not any("p99" in note for note in notes(many))
