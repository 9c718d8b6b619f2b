"""What the gate refuses to compare, and how it says why."""

from typing import Any

import pytest

from hetctl.bench.circumstances import Aspect
from hetctl.bench.gate.comparability import Measured, differences, parse_aspects, refuse
from hetctl.bench.gate.gate import choose_configuration
from hetctl.bench.results import FailedRun, Load, Outside
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.gate import noisy


def environment(**changes: Any) -> dict[str, Any]:
    found = noisy.results().environment
    if "fingerprint" in changes:
        return {
            "environment": found.model_copy(
                update={"machine": found.machine.model_copy(update=changes)}
            )
        }
    return {
        "environment": found.model_copy(
            update={"versions": found.versions.model_copy(update=changes)}
        )
    }


def with_last_run(**changes: object) -> Measured:
    """Results whose last run differs in these figures."""
    made = noisy.results()
    last = made.runs[-1]
    figures = last.measurement.model_copy(update=changes)
    runs = (*made.runs[:-1], last.model_copy(update={"measurement": figures}))
    return Measured(made.model_copy(update={"runs": runs}), made.configurations[0])


def with_plan(**changes: object) -> Measured:
    made = noisy.results()
    plan = sample.hybrid_plan().model_copy(update=changes)
    return Measured(made, made.configurations[0].model_copy(update={"plan": plan}))


FAILED = FailedRun(
    configuration="hybrid",
    repeat=5,
    point=None,
    phase="server",
    reason="out of memory",
    log="logs/x",
)

CASES: dict[str, tuple[Measured, Aspect, str]] = {
    "hardware": (
        noisy.measured(**environment(fingerprint="beef")),
        "hardware",
        "machine is f00d (Xeon 8481C, 16 cores, L4 24.0 GiB) in BASE and beef",
    ),
    "versions": (
        noisy.measured(**environment(vllm="0.27.0")),
        "versions",
        "vllm is 0.26.0 in BASE and 0.27.0 in CURRENT",
    ),
    "driver": (
        noisy.measured(**environment(driver="560")),
        "versions",
        "driver is none in BASE and 560 in CURRENT",
    ),
    "model": (
        noisy.measured(model="org/other"),
        "model",
        "model is org/tiny-8b in BASE and org/other in CURRENT",
    ),
    "dtype": (with_plan(dtype="float16"), "model", "dtype is bfloat16 in BASE and float16"),
    "workload": (
        noisy.measured(loads=(Load(max_concurrency=16),)),
        "workload",
        "max_concurrency is 8 in BASE and 16 in CURRENT",
    ),
    "warm-ups": (
        noisy.measured(loads=(Load(num_warmups=0),)),
        "workload",
        "num_warmups is 2 in BASE and 0 in CURRENT",
    ),
    "seed": (
        noisy.measured(loads=(Load(seed=7),)),
        "seed",
        "seed is 0 in BASE and 7 in CURRENT",
    ),
    "tokens": (
        with_last_run(output_tokens=4000),
        "tokens",
        "the total of output_tokens is 4,096 in BASE and 4,000 or 4,096 in CURRENT",
    ),
    "failed requests": (
        with_last_run(failed=3, completed=29, output_tokens=1, errors=("timed out",)),
        "failures",
        "3 of 32 requests failed in CURRENT, run 5 (timed out)",
    ),
    "failed run": (
        noisy.measured(failed=(FAILED,)),
        "failures",
        "run 5 of CURRENT failed (server): out of memory",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_difference_is_named_with_both_values(case: str) -> None:
    current, aspect, text = CASES[case]
    (found,) = differences(noisy.measured(), current)
    assert found.aspect == aspect
    assert text in found.text


def test_equal_circumstances_differ_in_nothing() -> None:
    assert differences(noisy.measured(), noisy.measured(1.3, commit="badcafe", late_s=9)) == ()


def test_repeats_that_were_sent_other_prompts_may_differ_in_tokens() -> None:
    """With an engine from outside each repeat has a seed of its own."""
    outside = sample.CPU.model_copy(
        update={"command": None, "outside": Outside(engine="e", model_name="m", url="http://h:1")}
    )

    def varied(extra: int) -> Measured:
        made = noisy.results()
        runs = tuple(
            run.model_copy(
                update={
                    "measurement": run.measurement.model_copy(
                        update={"input_tokens": 16_000 + run.repeat + extra * (run.repeat == 3)}
                    )
                }
            )
            for run in made.runs
        )
        changes = {"runs": runs, "configurations": (sample.HYBRID, outside)}
        return choose_configuration(made.model_copy(update=changes), None, "x")

    assert differences(varied(0), varied(0)) == ()
    (found,) = differences(varied(0), varied(1))
    assert found.text == "the total of input_tokens is 16,003 in BASE and 16,004 in CURRENT"


def test_failures_of_other_configurations_do_not_matter() -> None:
    other = FAILED.model_copy(update={"configuration": "cpu"})
    assert differences(noisy.measured(), noisy.measured(failed=(other,))) == ()


def test_the_refusal_lists_all_and_says_how_to_allow_them() -> None:
    current = noisy.measured(model="org/other", loads=(Load(seed=7),))
    found = differences(noisy.measured(), current)
    with pytest.raises(UsageError) as raised:
        refuse(found, {"hardware"})
    assert "model: model is" in str(raised.value)
    assert "seed: seed is 0 in BASE and 7 in CURRENT" in str(raised.value)
    assert str(raised.value).endswith("say --allow model,seed.")
    with pytest.raises(UsageError, match=r"say --allow seed\."):
        refuse(found, {"model"})
    refuse(found, {"model", "seed"})


def test_aspects_come_in_one_piece_or_several() -> None:
    assert parse_aspects(["versions,hardware", " seed "]) == {"versions", "hardware", "seed"}
    assert parse_aspects([]) == frozenset()
    with pytest.raises(UsageError, match=r"--allow does not know colour; .* hardware, versions"):
        parse_aspects(["colour,seed"])
