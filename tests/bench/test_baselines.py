"""Which configurations a comparison has on which machine."""

from dataclasses import dataclass, field

import pytest

from hetctl.bench.baselines import BENCH_SERVER_ARGS, Planning, baselines, plan_configuration
from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.plan import Plan, PrefetchOffload, UvaOffload
from tests.bench import sample


@dataclass
class FakePlanning:
    """A planner in whose world a CPU rank and any strategy fit and, if told so, a GPU does."""

    gpu_fits: bool = False
    launched: list[tuple[str, ...]] = field(default_factory=list)

    def baseline(self, kind: str) -> Plan:
        if kind == "gpu" and not self.gpu_fits:
            raise DoesNotFitError("The model needs 20 GiB, cuda:0 has 16 GiB.")
        return {
            "gpu": sample.plan(sample.rank(0, "cuda:0", (0, 32), 80), strategy="gpu"),
            "cpu": sample.cpu_plan(),
            "uva": UVA,
            "prefetch": PREFETCH,
            "pipeline": TIGHT,
        }[kind]

    def launch(self, _: Plan, args: tuple[str, ...]) -> LaunchCommand:
        self.launched.append(args)
        return sample.command()

    def as_planning(self) -> Planning:
        return Planning(self.baseline, self.launch)


ON_ONE_GPU = sample.plan(sample.rank(0, "cuda:0", (0, 32), 16), strategy="uva")
UVA = ON_ONE_GPU.model_copy(update={"offload": UvaOffload(gib_per_gpu=4)})
PREFETCH = ON_ONE_GPU.model_copy(
    update={"strategy": "prefetch", "offload": PrefetchOffload(group_size=4, num_in_group=1)}
)
TIGHT = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:0", (8, 32), 16))
TWO_CPUS = sample.plan(sample.rank(0, "cpu", (0, 16), 32), sample.rank(1, "cpu", (16, 32), 32))


def without_gpus() -> Machine:
    return sample.machine().model_copy(update={"gpus": ()})


def by_name(found: list[Configuration | Skipped]) -> dict[str, Configuration | Skipped]:
    return {one.name: one for one in found}


def test_a_hybrid_plan_meets_the_cpu_and_both_offloads_and_says_why_not_the_gpu() -> None:
    planning = FakePlanning()
    found = by_name(baselines(TIGHT, sample.machine(), planning.as_planning()))
    assert list(found) == ["gpu", "cpu", "gpu+uva", "gpu+prefetch"]
    gpu = found["gpu"]
    assert isinstance(gpu, Skipped)
    assert gpu.reason == "The model needs 20 GiB, cuda:0 has 16 GiB."
    uva = found["gpu+uva"]
    assert isinstance(uva, Configuration)
    assert uva.plan == UVA
    assert all(args[-1:] == BENCH_SERVER_ARGS for args in planning.launched)


def test_a_streaming_plan_meets_the_hybrid_and_the_other_stream() -> None:
    planning = FakePlanning().as_planning()
    found = baselines(PREFETCH, sample.machine(), planning)
    assert [one.name for one in found] == ["gpu", "cpu", "hybrid", "gpu+uva"]
    own = plan_configuration(PREFETCH, planning)
    assert (own.name, own.title) == ("gpu+prefetch", "GPU, weights prefetched")


def test_a_pipeline_that_streams_meets_the_one_that_does_not() -> None:
    planning = FakePlanning().as_planning()
    both = TIGHT.model_copy(update={"strategy": "pipeline-prefetch", "offload": PREFETCH.offload})
    found = baselines(both, sample.machine(), planning)
    assert [one.name for one in found] == ["gpu", "cpu", "hybrid", "gpu+uva", "gpu+prefetch"]
    own = plan_configuration(both, planning)
    assert own.name == "pipeline-prefetch"
    assert own.title == "Pipeline over cpu + cuda:0; GPU, weights prefetched"


def test_two_cpu_ranks_meet_one() -> None:
    planning = FakePlanning().as_planning()
    (found,) = baselines(TWO_CPUS, without_gpus(), planning)
    assert isinstance(found, Configuration)
    assert (found.name, found.role) == ("cpu", "baseline")
    assert plan_configuration(TWO_CPUS, planning).name == "pipeline"


def test_a_plan_is_not_its_own_baseline() -> None:
    planning = FakePlanning(gpu_fits=True)
    plan = planning.baseline("gpu")
    found = baselines(plan, sample.machine(), planning.as_planning())
    assert [one.name for one in found] == ["cpu"]
    assert plan_configuration(plan, planning.as_planning()).name == "gpu"


def test_a_model_that_fits_is_not_offloaded() -> None:
    found = baselines(
        sample.hybrid_plan(), sample.machine(), FakePlanning(gpu_fits=True).as_planning()
    )
    assert [one.name for one in found] == ["gpu", "cpu"]


def test_bugs_of_the_planner_are_not_taken_for_reasons() -> None:
    def broken(_: str) -> Plan:
        raise ZeroDivisionError

    launch = FakePlanning().launch
    with pytest.raises(ZeroDivisionError):
        baselines(TIGHT, sample.machine(), Planning(broken, launch))
