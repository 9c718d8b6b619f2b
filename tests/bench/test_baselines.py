"""Which configurations a comparison has on which machine."""

from dataclasses import dataclass, field

import pytest

from hetctl.bench.baselines import BENCH_SERVER_ARGS, Planning, baselines, plan_configuration
from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Plan
from hetctl.units import GIB
from tests.bench import sample


@dataclass
class FakePlanning:
    """A planner in whose world a CPU rank fits and, if told so, a GPU does."""

    gpu_fits: bool = False
    launched: list[tuple[str, ...]] = field(default_factory=list)

    def alone(self, kind: str) -> Plan:
        if kind == "cpu":
            return sample.cpu_plan()
        if not self.gpu_fits:
            raise DoesNotFitError("The model needs 20 GiB, cuda:0 has 16 GiB.")
        return sample.plan(sample.rank(0, "cuda:0", (0, 32), 80), strategy="gpu")

    def launch(self, _: Plan, args: tuple[str, ...]) -> LaunchCommand:
        self.launched.append(args)
        return sample.command()

    def as_planning(self) -> Planning:
        return Planning(self.alone, self.launch, self.launch)


SPEC = ModelSpec(
    name=sample.MODEL,
    architecture="LlamaForCausalLM",
    dtype="bfloat16",
    layers=(
        LayerSpec(
            weight_bytes=GIB // 2,
            decode_weight_bytes=GIB // 2,
            flops_per_token=1,
            kv_bytes_per_token=4096,
        ),
    )
    * 32,
    hidden_size=4096,
    vocab_size=128256,
    max_model_len=8192,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    embedding_bytes=1,
    head_bytes=1,
    activation_bytes_per_token=1,
    parameters=8_000_000_000,
    active_parameters=8_000_000_000,
)
TIGHT = sample.plan(sample.rank(0, "cpu", (0, 8), 32), sample.rank(1, "cuda:0", (8, 32), 16))
TWO_CPUS = sample.plan(sample.rank(0, "cpu", (0, 16), 32), sample.rank(1, "cpu", (16, 32), 32))


def without_gpus() -> Machine:
    return sample.machine().model_copy(update={"gpus": ()})


def by_name(found: list[Configuration | Skipped]) -> dict[str, Configuration | Skipped]:
    return {one.name: one for one in found}


def test_a_hybrid_plan_meets_the_cpu_and_both_offloads_and_says_why_not_the_gpu() -> None:
    planning = FakePlanning()
    found = by_name(baselines(TIGHT, sample.machine(), SPEC, planning.as_planning()))
    assert list(found) == ["gpu", "cpu", "gpu+uva", "gpu+prefetch"]
    gpu = found["gpu"]
    assert isinstance(gpu, Skipped)
    assert gpu.reason == "The model needs 20 GiB, cuda:0 has 16 GiB."
    assert ("--offload-backend", "uva", "--cpu-offload-gb", "4") in [
        args[:4] for args in planning.launched
    ]
    assert all(args[-1:] == BENCH_SERVER_ARGS for args in planning.launched)


def test_two_cpu_ranks_meet_one() -> None:
    planning = FakePlanning().as_planning()
    (found,) = baselines(TWO_CPUS, without_gpus(), SPEC, planning)
    assert isinstance(found, Configuration)
    assert (found.name, found.role) == ("cpu", "baseline")
    assert plan_configuration(TWO_CPUS, planning).name == "pipeline"


def test_a_plan_is_not_its_own_baseline() -> None:
    planning = FakePlanning(gpu_fits=True)
    plan = planning.alone("gpu")
    found = baselines(plan, sample.machine(), SPEC, planning.as_planning())
    assert [one.name for one in found] == ["cpu"]
    assert plan_configuration(plan, planning.as_planning()).name == "gpu"


def test_a_model_that_fits_is_not_offloaded() -> None:
    found = baselines(
        sample.hybrid_plan(), sample.machine(), SPEC, FakePlanning(gpu_fits=True).as_planning()
    )
    assert [one.name for one in found] == ["gpu", "cpu"]


def test_bugs_of_the_planner_are_not_taken_for_reasons() -> None:
    def broken(_: str) -> Plan:
        raise ZeroDivisionError

    launch = FakePlanning().launch
    with pytest.raises(ZeroDivisionError):
        baselines(TIGHT, sample.machine(), SPEC, Planning(broken, launch, launch))
