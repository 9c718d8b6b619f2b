"""What may be passed through to ``vllm serve``."""

import pytest

from hetctl.errors import UsageError
from hetctl.launch.command import LaunchCommand, launch_command
from hetctl.planner import PlanRequest, make_plan
from hetctl.workload import Workload
from tests.planner.machines import machine, model


def command(*extra_args: str, cpu_ranks: int = 1) -> LaunchCommand:
    plan = make_plan(machine(), model(), Workload(), PlanRequest(cpu_ranks=cpu_ranks))
    return launch_command(plan, host="127.0.0.1", port=8000, extra_args=extra_args)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--speculative-config", '{"method": "ngram"}'),
        ("--speculative_config.method", "ngram"),
        ("--nnodes=2",),
        ("--enable-expert-parallel",),
    ],
)
def test_what_cpu_ranks_cannot_do_is_refused_before_anything_starts(
    arguments: tuple[str, ...],
) -> None:
    with pytest.raises(UsageError, match="does not work with CPU ranks; leave it out"):
        command(*arguments)
    assert command(*arguments, cpu_ranks=0).argv[-1] == arguments[-1]


def test_other_options_go_to_vllm_as_they_are() -> None:
    assert command("--enable-lora", "--seed", "3").argv[-3:] == ("--enable-lora", "--seed", "3")
    with pytest.raises(UsageError, match="--dtype cannot be passed through"):
        command("--dtype", "half")
