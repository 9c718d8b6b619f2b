"""The headline says who wins, honestly."""

from hetctl.bench.results import Results
from hetctl.bench.verdict import judge
from tests.bench import sample


def pair(plan_rate: float, baseline_rate: float) -> Results:
    return sample.results(
        runs=(
            sample.run("hybrid", measured=sample.measurement(plan_rate)),
            sample.run("cpu", measured=sample.measurement(baseline_rate)),
        )
    )


def test_a_win_is_over_the_fastest_baseline() -> None:
    verdict = judge(sample.results())
    assert verdict.outcome == "win"
    assert verdict.headline == "hybrid is 1.25x as fast as gpu+prefetch, by output tokens/s."
    assert "32 requests of 512 + 128 tokens, 8 at a time" in verdict.detail
    assert "first token after 520.0 ms against 110.0 ms" in verdict.detail


def test_a_loss_is_said_plainly() -> None:
    verdict = judge(pair(50, 100))
    assert verdict.outcome == "loss"
    assert verdict.headline.startswith("cpu is 2.00x as fast as hybrid")


def test_two_percent_is_no_win() -> None:
    assert judge(pair(101.9, 100)).outcome == "even"
    assert judge(pair(102.1, 100)).outcome == "win"


def test_a_difference_within_the_noise_is_doubted() -> None:
    noisy = tuple(
        sample.run(name, repeat, sample.measurement(rate))
        for repeat, factor in enumerate((0.7, 1.0, 1.3), 1)
        for name, rate in (("hybrid", 110 * factor), ("cpu", 100 * factor))
    )
    assert "within the noise" in judge(sample.results(runs=noisy, repeats=3)).headline
    assert "within the noise" not in judge(sample.results()).headline


def test_the_factor_comes_with_its_interval_whoever_wins() -> None:
    def headline(plan_rate: float) -> str:
        runs = tuple(
            sample.run(name, repeat, sample.measurement(rate * factor))
            for repeat, factor in enumerate((0.99, 1.0, 1.01), 1)
            for name, rate in (("hybrid", plan_rate), ("cpu", 100.0))
        )
        return judge(sample.results(runs=runs, repeats=3)).headline

    # 4.303 x 0.01 / sqrt(3) = 2.48% of each, in squares 3.51% of the ratio.
    interval = "(95% interval: 1.93x to 2.07x)."
    assert headline(200).endswith(f"as fast as cpu, by output tokens/s {interval}")
    assert headline(50).endswith(f"as fast as hybrid, by output tokens/s {interval}")


def test_a_plan_alone_wins_nothing() -> None:
    verdict = judge(sample.results(runs=(sample.run("hybrid"),)))
    assert verdict.outcome == "single"
    assert "nothing to compare" in verdict.headline


def test_no_run_at_all_has_a_verdict() -> None:
    assert judge(sample.blank()).headline == "Nothing was measured."
