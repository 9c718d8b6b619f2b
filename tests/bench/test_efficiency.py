"""Joules and bytes per token, and what is said when they are not known."""

import pytest

from hetctl.bench.efficiency import EFFICIENCY, EfficiencyFigure
from hetctl.bench.results import Results, Run
from hetctl.bench.telemetry.digest import GpuDigest
from tests.bench import sample
from tests.bench.test_memory_limit import machine, spec

FIGURES = {figure.key: figure for figure in EFFICIENCY}
GPU_JOULES = FIGURES["gpu_joules_per_output_token"]
CPU_JOULES = FIGURES["cpu_joules_per_output_token"]
BANDWIDTH = FIGURES["memory_bandwidth_share"]


def run(name: str, repeat: int = 1, **telemetry: object) -> Run:
    digest = sample.telemetry(**telemetry)  # type: ignore[arg-type]
    return sample.run(name, repeat).model_copy(update={"telemetry_digest": digest})


def mean(figure: EfficiencyFigure, *runs: Run, **changes: object) -> float | None:
    results = sample.results(runs=runs, **changes)
    value = figure.value(results, runs)
    return value.mean if value else None


def test_joules_are_those_of_the_load_over_its_output_tokens() -> None:
    # 32 requests of 128 tokens: 4096.
    assert mean(GPU_JOULES, run("hybrid", gpu_energy_j=8192)) == pytest.approx(2)
    assert mean(CPU_JOULES, run("hybrid")) == pytest.approx(2)
    runs = run("hybrid", 1, gpu_energy_j=4096), run("hybrid", 2, gpu_energy_j=12288)
    assert mean(GPU_JOULES, *runs) == pytest.approx(2)


def test_a_gpu_that_the_configuration_leaves_idle_does_not_count() -> None:
    gpus = (GpuDigest(index=0, energy_j=4096), GpuDigest(index=1, energy_j=1e6))
    assert mean(GPU_JOULES, run("hybrid", gpus=gpus)) == pytest.approx(1)
    assert mean(GPU_JOULES, run("cpu", gpus=gpus)) is None


def test_a_missing_reading_is_not_taken_for_zero() -> None:
    assert mean(GPU_JOULES, run("hybrid", gpus=(GpuDigest(index=0),))) is None
    assert mean(GPU_JOULES, sample.run("hybrid")) is None
    assert mean(GPU_JOULES, run("hybrid"), sample.run("hybrid", 2)) is None
    assert mean(CPU_JOULES, run("hybrid", cpu_package_energy_j=None)) is None


def test_the_share_of_the_memory_limit_needs_a_spec_a_plan_and_bandwidths() -> None:
    def share(name: str, **changes: object) -> float | None:
        return mean(BANDWIDTH, sample.run(name), **changes)

    known: Results = sample.results()
    environment = known.environment.model_copy(update={"machine": machine()})
    found = share("hybrid", spec=spec(), environment=environment)
    assert found is not None
    assert 0.1 < found < 1
    assert BANDWIDTH.format(found).endswith("%")
    assert share("gpu+prefetch", spec=spec(), environment=environment) is None
    assert share("hybrid", environment=environment) is None
    assert share("hybrid", spec=spec()) is None
