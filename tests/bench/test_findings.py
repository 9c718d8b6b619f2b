"""Doubtful measurements are flagged."""

from hetctl.bench.findings import findings
from hetctl.bench.results import FailedRun, Load, Outside, Results
from hetctl.bench.telemetry.digest import Mark
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
    assert "hybrid at c8 (repeat 1): 16,384, cpu at c8 (repeat 1): 16,000" in warning


def test_different_output_tokens_are_flagged() -> None:
    other = sample.measurement(output_tokens=4000)
    found = warnings(sample.results(runs=(sample.run("hybrid"), sample.run("cpu", 1, other))))
    assert any("output tokens differ" in warning for warning in found)
    assert any("cpu at c8 (repeat 1) generated 4,000 tokens, not the 4,096" in one for one in found)


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


def test_a_point_that_is_whole_says_that_another_is_not() -> None:
    loads = Load(max_concurrency=1), Load(max_concurrency=8)
    stopped = sample.blank(
        sample.CPU, loads=loads, runs=(sample.run("cpu", point="c1"),), interrupted=True
    )
    assert findings(stopped)[0].text.startswith("Interrupted after 1 of 2 runs")
    assert findings(stopped.at("c1"))[0].text.startswith("Interrupted under another load")


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


def test_clients_that_took_time_from_the_threads_that_compute_are_told() -> None:
    def told(**cpus: tuple[int, ...]) -> list[str]:
        runs = tuple(
            sample.run(name, repeat).model_copy(update={"client_cpus": cpus.get(name, ())})
            for repeat in (1, 2)
            for name in ("hybrid", "cpu", "gpu+prefetch")
        )
        found = notes(sample.results(runs=runs, repeats=2))
        return [note for note in found if "load generator" in note]

    assert told(hybrid=(0,), cpu=(0,)) == [], "and without CPU ranks nobody is disturbed"
    (note,) = told(cpu=(0,))
    assert note.startswith("The load generator and the API server of hybrid had no CPUs")
    assert "of hybrid, cpu had" in told()[0]


def test_each_point_of_a_sweep_has_its_own_work() -> None:
    """More requests under more load are no difference; other requests at a point are."""
    loads = Load(max_concurrency=1, num_prompts=8), Load(max_concurrency=8)
    few = sample.measurement(completed=8, input_tokens=8 * 512, output_tokens=8 * 128)
    runs = tuple(
        sample.run(name, 1, measured, point=point)
        for name in ("hybrid", "cpu")
        for point, measured in (("c1", few), ("c8", None))
    )
    assert warnings(sample.blank(loads=loads, runs=runs)) == []
    other = sample.run("gpu+prefetch", 1, few.model_copy(update={"input_tokens": 4000}), "c1")
    (warning,) = warnings(sample.blank(loads=loads, runs=(*runs, other)))
    assert "input tokens differ" in warning
    assert "gpu+prefetch at c1 (repeat 1): 4,000" in warning


def test_repeats_with_an_engine_from_outside_are_compared_one_by_one() -> None:
    """Each repeat has prompts of its own then, and a tokenizer may count them differently."""
    outside = sample.CPU.model_copy(
        update={
            "command": None,
            "outside": Outside(engine="e", model_name="m", url="http://h:1"),
        }
    )
    more = sample.measurement(input_tokens=32 * 512 + 1)
    runs = tuple(
        sample.run(name, repeat, measured)
        for repeat, measured in ((1, None), (2, more))
        for name in ("hybrid", "cpu")
    )
    both = sample.blank(sample.HYBRID, outside, runs=runs, repeats=2)
    assert warnings(both) == []
    (warning,) = warnings(sample.blank(sample.HYBRID, sample.CPU, runs=runs, repeats=2))
    assert "input tokens differ" in warning


def test_runs_under_foreign_load_or_throttling_are_flagged() -> None:
    marks = (
        Mark(kind="foreign load", text="other programs took 15% of the CPUs' time (limit 5%)"),
        Mark(kind="throttling", text="the kernel counted thermal throttling of the CPU"),
    )
    marked = {"telemetry_digest": sample.telemetry(marks=marks)}
    disturbed = sample.run("cpu").model_copy(update=marked)
    quiet = sample.run("hybrid").model_copy(update={"telemetry_digest": sample.telemetry()})
    found = warnings(sample.results(runs=(quiet, disturbed)))
    assert found == [
        "cpu at c8 (repeat 1) ran under foreign load: other programs took 15% of the CPUs' time "
        "(limit 5%).",
        "cpu at c8 (repeat 1) ran under throttling: the kernel counted thermal throttling of the "
        "CPU.",
    ]
    again = sample.run("cpu", 2).model_copy(update=marked)
    found = warnings(sample.results(runs=(disturbed, again, sample.run("cpu", 3)), repeats=3))
    assert found[0].endswith("(limit 5%); so did 1 more of its 3 runs.")
