"""More runs for results that are there."""

from typing import Any

import pytest

from hetctl.bench.append import with_more_runs
from hetctl.bench.results import Configuration, FailedRun, Load, Results
from hetctl.bench.schedule import to_come
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.gate import noisy


def before(**changes: Any) -> Results:
    return sample.blank(
        sample.HYBRID, sample.CPU, **({"runs": (sample.run("hybrid"), sample.run("cpu"))} | changes)
    )


def more(*configurations: Configuration, **changes: Any) -> Results:
    return sample.blank(*(configurations or (sample.HYBRID, sample.CPU)), **changes)


def left(results: Results) -> list[tuple[int, str]]:
    return [(coming.repeat, coming.configuration.name) for coming in to_come(results)]


def test_the_next_repeats_are_to_come() -> None:
    joined = with_more_runs(before(), more(repeats=2), "out")
    assert joined.runs == before().runs
    assert left(joined) == [(2, "hybrid"), (2, "cpu"), (3, "hybrid"), (3, "cpu")]


def test_what_an_interruption_left_out_is_to_come_too() -> None:
    stopped = before(runs=(sample.run("hybrid"),), interrupted=True, repeats=5)
    joined = with_more_runs(stopped, more(), "out")
    assert not joined.interrupted
    assert left(joined) == [(1, "cpu"), (2, "hybrid"), (2, "cpu")]


def test_servers_listen_on_the_port_that_is_free_now() -> None:
    moved = sample.HYBRID.model_copy(update={"command": sample.command(port=9000)})
    joined = with_more_runs(before(), more(moved, sample.CPU), "out")
    assert joined.configuration("hybrid").command.port == 9000


def with_commit(commit: str) -> Results:
    found = more()
    environment = found.environment.model_copy(update={"git_commit": commit})
    return found.model_copy(update={"environment": environment})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (more(loads=(Load(seed=3),)), "seed is 0 in out and 3 in this run"),
        (more(model="org/other"), "model is org/tiny-8b in out and org/other in this run"),
        (with_commit("badcafe"), "the commit is c0ffee in out and badcafe in this run"),
        (noisy.of_version("0.2", more()), "hetctl is 0.1.0 in out and 0.2 in this run"),
        (more(sample.HYBRID), "what is measured is hybrid (8+24 layers on cpu + cuda:0), cpu (32"),
    ],
)
def test_runs_of_something_else_are_not_added(other: Results, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        with_more_runs(before(), other, "out")
    assert said in str(raised.value)


def test_nothing_is_added_to_results_with_a_failed_run() -> None:
    failed = FailedRun(
        configuration="cpu", repeat=1, point=None, phase="load", reason="no", log="x"
    )
    with pytest.raises(UsageError, match=r"out holds a failed run \(cpu, run 1\)"):
        with_more_runs(before(failed=(failed,)), more(), "out")
