"""Which configurations a comparison has on which machine."""

from dataclasses import dataclass, field

import pytest

from hetctl.bench.baselines import (
    BASELINES,
    Planning,
    baselines,
    parse_baselines,
    plan_configuration,
)
from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError, UsageError
from hetctl.launch.command import LaunchCommand
from hetctl.plan import Plan, PrefetchOffload, UvaOffload
from tests.bench import sample

ON_ONE_GPU = sample.plan(sample.rank(0, "cuda:0", (0, 32), 16), strategy="uva")
UVA = ON_ONE_GPU.model_copy(update={"offload": UvaOffload(gib_per_gpu=4)})
PREFETCH = ON_ONE_GPU.model_copy(
    update={"strategy": "prefetch", "offload": PrefetchOffload(group_size=4, num_in_group=1)}
)
TIGHT = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:0", (8, 32), 16))
GPU = sample.plan(sample.rank(0, "cuda:0", (0, 32), 80), strategy="gpu")
TWO_CPUS = sample.plan(sample.rank(0, "cpu", (0, 16), 32), sample.rank(1, "cpu", (16, 32), 32))


@dataclass
class FakePlanning:
    """A planner in whose world one GPU is too small, unless told otherwise."""

    plans: dict[str, Plan] = field(default_factory=dict)
    launched: list[Plan] = field(default_factory=list)

    def baseline(self, kind: str) -> Plan:
        known = {
            "gpu+uva": UVA,
            "gpu+prefetch": PREFETCH,
            "cpu": sample.cpu_plan(),
            "pipeline": TIGHT,
            "auto": PREFETCH,
        } | self.plans
        if kind not in known:
            raise DoesNotFitError(f"{kind} needs 20 GiB, cuda:0 has 16 GiB.")
        return known[kind]

    def launch(self, plan: Plan) -> LaunchCommand:
        self.launched.append(plan)
        return sample.command()

    def as_planning(self) -> Planning:
        return Planning(self.baseline, self.launch)


def ran(found: list[Configuration | Skipped]) -> list[str]:
    return [one.name for one in found if isinstance(one, Configuration)]


def why_not(found: list[Configuration | Skipped]) -> dict[str, str]:
    return {one.name: one.reason for one in found if isinstance(one, Skipped)}


def test_all_that_can_run_here_is_run_and_the_rest_has_a_reason() -> None:
    planning = FakePlanning()
    found = baselines(TIGHT, planning.as_planning())
    assert [one.name for one in found] == list(BASELINES)
    assert ran(found) == ["gpu+uva", "gpu+prefetch", "cpu"]
    assert why_not(found) == {
        "gpu": "gpu needs 20 GiB, cuda:0 has 16 GiB.",
        "pipeline": "It is the plan under test: 8+24 layers on cpu + cuda:0.",
        "tensor": "tensor needs 20 GiB, cuda:0 has 16 GiB.",
        "auto": "It is the same as gpu+prefetch: 32 layers on cuda:0.",
    }
    assert planning.launched == [UVA, PREFETCH, sample.cpu_plan()]


def test_a_choice_is_kept_to() -> None:
    found = baselines(TIGHT, FakePlanning().as_planning(), ("cpu", "gpu"))
    assert ran(found) == ["cpu"]
    assert list(why_not(found)) == ["gpu"]


def test_a_split_by_hand_meets_what_hetctl_would_choose() -> None:
    by_hand = sample.plan(sample.rank(0, "cpu", (0, 9), 32), sample.rank(1, "cuda:0", (9, 32), 16))
    planning = FakePlanning({"auto": GPU})
    found = baselines(by_hand, planning.as_planning(), ("pipeline", "auto"))
    assert ran(found) == ["auto"]
    assert why_not(found) == {
        "pipeline": "The plan under test is one already: 9+23 layers on cpu + cuda:0."
    }


@pytest.mark.parametrize(
    ("plan", "name", "title"),
    [
        (GPU, "gpu", "cuda:0 alone"),
        (UVA, "gpu+uva", "GPU, weights read over PCIe"),
        (PREFETCH, "gpu+prefetch", "GPU, weights prefetched"),
        (TIGHT, "pipeline", "Pipeline over cpu + cuda:0"),
        (TWO_CPUS, "pipeline", "Pipeline over cpu + cpu"),
        (
            TIGHT.model_copy(update={"offload": UVA.offload}),
            "pipeline+uva",
            "Pipeline over cpu + cuda:0, weights read over PCIe",
        ),
        (
            TIGHT.model_copy(update={"tensor_parallel_size": 2}),
            "tensor",
            "Tensor parallel over cpu + cuda:0",
        ),
        (sample.cpu_plan(), "cpu", "cpu alone"),
    ],
)
def test_the_plan_under_test_is_called_after_what_it_is(plan: Plan, name: str, title: str) -> None:
    own = plan_configuration(plan, FakePlanning().as_planning())
    assert (own.name, own.title, own.role) == (name, title, "plan")


def test_bugs_of_the_planner_are_not_taken_for_reasons() -> None:
    def broken(_: str) -> Plan:
        raise ZeroDivisionError

    launch = FakePlanning().launch
    with pytest.raises(ZeroDivisionError):
        baselines(TIGHT, Planning(broken, launch))


def test_baselines_are_named_on_the_command_line() -> None:
    assert parse_baselines("cpu, gpu+uva,cpu") == ("cpu", "gpu+uva")
    with pytest.raises(UsageError, match=r"--baseline does not know 'uva'; take some of gpu, gpu"):
        parse_baselines("cpu,uva")
