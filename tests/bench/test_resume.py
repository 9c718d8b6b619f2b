"""A benchmark that was stopped goes on where it ended, and as it was begun."""

from typing import Any

import pytest

from hetctl.bench.results import Configuration, FailedRun, Load, Results
from hetctl.bench.resume import begun_again, resumed
from hetctl.bench.schedule import to_come
from hetctl.errors import UsageError
from tests.bench import sample

LOADS = (Load(max_concurrency=1), Load(max_concurrency=2, seed=1))
FAILED = FailedRun(configuration="cpu", repeat=1, point="c1", phase="server", reason="x", log="x")


def asked(*configurations: Configuration, **changes: Any) -> Results:
    fields = {"loads": LOADS, "repeats": 2} | changes
    return sample.blank(*(configurations or (sample.HYBRID, sample.CPU)), **fields)


def stopped(**changes: Any) -> Results:
    runs = tuple(sample.run("hybrid", point=point) for point in ("c1", "c2"))
    return asked(**({"runs": runs, "failed": (FAILED,), "interrupted": True} | changes))


def on_port(configuration: Configuration, port: int) -> Configuration:
    return configuration.model_copy(update={"command": sample.command(port)})


def test_what_is_there_is_kept_and_the_rest_is_to_come() -> None:
    going_on = resumed(stopped(), asked(), "DIR")
    assert going_on.runs == stopped().runs
    assert not going_on.interrupted
    left = [(one.repeat, one.configuration.name, one.load.point) for one in to_come(going_on)]
    assert left == [
        (1, "cpu", "c1"),
        (1, "cpu", "c2"),
        *((2, name, point) for name in ("hybrid", "cpu") for point in ("c1", "c2")),
    ], "what failed is tried again"


def test_servers_get_a_port_that_is_free_now() -> None:
    moved = asked(on_port(sample.HYBRID, 9000), on_port(sample.CPU, 9000))
    for again in (moved, begun_again(stopped(), stopped().environment, 9000)):
        command = resumed(stopped(), again, "DIR").configuration("cpu").command
        assert command is not None
        assert command.port == 9000
        assert command.argv[command.argv.index("--port") + 1] == "9000"


def with_argument(word: str) -> Configuration:
    argv = (*sample.command().argv, word)
    command = sample.command().model_copy(update={"argv": argv})
    return sample.CPU.model_copy(update={"command": command})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (asked(loads=(LOADS[0],)), "the sweep is c1, c2 in DIR and c1 in this run"),
        (asked(repeats=5), "repeats is 2 in DIR and 5 in this run"),
        (asked(stop_when_flat=True), "stop_when_flat is False in DIR and True in this run"),
        (asked(model="org/other"), "model is org/tiny-8b in DIR and org/other in this run"),
        (asked(sample.HYBRID), "what is measured is hybrid (8+24 layers on cpu + cuda:0), cpu (32"),
        (
            asked(sample.HYBRID, with_argument("--enforce-eager")),
            "the command of cpu has nothing in DIR and --enforce-eager in this run",
        ),
    ],
)
def test_a_changed_command_is_refused_with_the_difference(other: Results, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        resumed(stopped(), other, "DIR")
    assert said in str(raised.value)
    assert str(raised.value).endswith("; begin anew in another folder.")


def test_another_version_is_refused_too() -> None:
    environment = stopped().environment
    versions = environment.versions.model_copy(update={"vllm": "0.27.0"})
    newer = environment.model_copy(update={"versions": versions})
    with pytest.raises(UsageError, match=r"vllm is 0\.26\.0 in DIR and 0\.27\.0 in this run"):
        resumed(stopped(), begun_again(stopped(), newer, 9000), "DIR")
