"""Who wins at which load."""

from hetctl.bench.results import Load, Results
from hetctl.bench.sweep_verdict import judge_sweep, winners
from hetctl.bench.verdict import judge
from tests.bench import sample

LOADS = tuple(Load(max_concurrency=count) for count in (1, 2, 4, 8))


def sweep(*rates: tuple[str, tuple[float | None, ...]], repeats: int = 1) -> Results:
    """Output tokens/s by configuration, one per load; None where it was not measured."""
    configurations = {"hybrid": sample.HYBRID, "cpu": sample.CPU, "gpu+prefetch": sample.PREFETCH}
    runs = tuple(
        sample.run(name, repeat, sample.measurement(rate * (1 + repeat / 100)), load.point)
        for repeat in range(1, repeats + 1)
        for name, row in rates
        for rate, load in zip(row, LOADS, strict=True)
        if rate is not None
    )
    return sample.blank(
        *(configurations[name] for name, _ in rates), loads=LOADS, runs=runs, repeats=repeats
    )


def test_spans_of_loads_are_told_with_their_winner_and_factors() -> None:
    results = sweep(("hybrid", (20, 30, 40, 50)), ("gpu+prefetch", (10, 20, 50, 100)))
    verdict = judge_sweep(results)
    assert verdict.headline == (
        "hybrid is fastest from 1 to 2 at a time, 1.50x to 2.00x as fast as gpu+prefetch; "
        "gpu+prefetch is fastest from 4 to 8 at a time, 1.25x to 2.00x as fast as hybrid."
    )
    assert verdict.outcome == "even"


def test_a_plan_that_wins_everywhere_is_a_win_and_one_that_never_does_a_loss() -> None:
    better, worse = (20.0, 30.0, 40.0, 50.0), (10.0, 10.0, 10.0, 10.0)
    won = judge_sweep(sweep(("hybrid", better), ("cpu", worse)))
    assert won.outcome == "win"
    assert won.headline == "hybrid is fastest at every load, 2.00x to 5.00x as fast as cpu."
    assert judge_sweep(sweep(("hybrid", worse), ("cpu", better))).outcome == "loss"


def test_a_lead_within_noise_is_no_win() -> None:
    even = (10.1, 10.1, 10.1, 10.1)
    verdict = judge_sweep(sweep(("hybrid", even), ("cpu", (10, 10, 10, 10))))
    assert "by no more than 1%" in verdict.headline
    assert verdict.outcome == "even"


def test_a_lead_that_the_repeats_do_not_show_is_doubted() -> None:
    rates = {1: (12.0, 8.0), 2: (8.0, 12.0), 3: (13.0, 9.5)}
    runs = tuple(
        sample.run(name, repeat, sample.measurement(rate), load.point)
        for repeat, pair in rates.items()
        for name, rate in zip(("hybrid", "cpu"), pair, strict=True)
        for load in LOADS
    )
    verdict = judge_sweep(
        sample.blank(sample.HYBRID, sample.CPU, loads=LOADS, runs=runs, repeats=3)
    )
    assert verdict.headline.endswith("as fast as cpu, which is within the noise of the repeats.")
    assert verdict.outcome == "even"


def test_the_second_is_the_next_best_at_that_load_with_an_interval() -> None:
    results = sweep(
        ("hybrid", (20, 20, 20, 20)),
        ("cpu", (15, 10, None, None)),
        ("gpu+prefetch", (10, 15, 16, None)),
        repeats=3,
    )
    found = winners(results)
    assert [one.second for one in found] == ["cpu", "gpu+prefetch", "gpu+prefetch", ""]
    assert found[0].interval is not None
    low, high = found[0].interval
    assert low < 20 / 15 < high
    assert found[3].interval is None


def test_one_configuration_has_nothing_to_beat() -> None:
    verdict = judge_sweep(sweep(("hybrid", (10, 20, 30, 25))))
    assert verdict.outcome == "single"
    assert "up to 30.3 output tokens/s, 4 at a time" in verdict.headline


def test_a_single_load_has_the_verdict_of_a_plain_comparison() -> None:
    results = sample.results()
    assert judge_sweep(results) == judge(results)
    assert judge_sweep(sample.blank(loads=LOADS)).headline == "Nothing was measured."
