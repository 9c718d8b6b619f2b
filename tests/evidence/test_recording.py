"""What is kept of a benchmark's runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from hetctl.bench.results import Results
from hetctl.evidence.recording import records_of, unlike_plan
from hetctl.launch.server import memory_report_of
from hetctl.plan import Correction, Plan
from hetctl.planner.evidence import rates_digest
from hetctl.run_record import RunRecord
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.bench import sample
from tests.planner.machines import model

LOAD = Workload(concurrency=8, input_len=512, output_len=128)


def keep(results: Results, folder: Path, *vllm_args: str) -> list[RunRecord]:
    planned = results.model_copy(update={"spec": model()})
    return list(records_of(planned, results.runs, folder, vllm_args))


def corrected(plan: Plan) -> Plan:
    """The same plan as if its TPOT had been doubled by what was known before."""
    made = Correction(metric="tpot", runs=3, sessions=3, error=-0.5, spread=0, factor=2)
    told = plan.prediction
    twice = told.model_copy(update={"tpot_s": 2 * told.tpot_s, "corrections": (made,)})
    return plan.model_copy(update={"prediction": twice})


def test_every_planned_run_is_kept_with_both_sides(tmp_path: Path) -> None:
    hybrid, cpu = keep(sample.results(), tmp_path)
    assert (hybrid.strategy, cpu.strategy) == ("pipeline", "cpu")
    assert hybrid.devices == ("cpu", "cuda:0")
    assert hybrid.away_share == 0.25
    assert (hybrid.predicted.output_tokens_per_s, hybrid.measured.output_tokens_per_s) == (100, 100)
    assert (cpu.predicted.tpot_s, cpu.measured.tpot_s) == (0.08, 0.4)
    assert hybrid.rates_digest == rates_digest(sample.machine())
    assert hybrid.session == cpu.session == "2026-01-02T03:04:05.000000Z"
    assert (hybrid.machine_fingerprint, hybrid.unlike_plan) == ("f00d", "")
    assert RunRecord.parse(hybrid.model_dump_json(), "it") == hybrid


def test_a_run_keeps_which_cost_model_predicted_it(tmp_path: Path) -> None:
    """Which is the one that made the plan, not the one that benchmarks it."""
    plan = sample.hybrid_plan().model_copy(update={"predictor_version": 7})
    configuration = sample.HYBRID.model_copy(update={"plan": plan})
    results = sample.blank(configuration, runs=(sample.run("hybrid"),))
    (kept,) = keep(results, tmp_path)
    assert kept.predictor_version == 7


def test_what_is_kept_is_the_prediction_without_corrections(tmp_path: Path) -> None:
    """Or each run would be corrected for the corrections before it."""
    plan = corrected(sample.hybrid_plan())
    configuration = sample.HYBRID.model_copy(update={"plan": plan})
    results = sample.blank(configuration, runs=(sample.run("hybrid"),))
    (kept,) = keep(results, tmp_path)
    assert kept.predicted.tpot_s == pytest.approx(sample.hybrid_plan().prediction.tpot_s)


def test_a_machine_without_a_fingerprint_learns_nothing(tmp_path: Path) -> None:
    environment = sample.results().environment
    nameless = environment.machine.model_copy(update={"fingerprint": ""})
    environment = environment.model_copy(update={"machine": nameless})
    assert keep(sample.results(environment=environment), tmp_path) == []


@pytest.mark.parametrize(
    ("load", "measured", "vllm_args", "problem"),
    [
        ({}, {}, (), ""),
        ({}, {}, ("--seed", "7", "--load-format=tiled"), ""),
        ({}, {}, ("--enforce-eager", "--seed", "7"), "vLLM was given --enforce-eager"),
        ({"request_rate": 2.0}, {}, (), "requests came at a rate of their own"),
        ({"input_len": 256}, {}, (), "the load was not the planned one"),
        ({}, {"failed": 2}, (), "2 requests failed"),
        ({}, {"completed": 15}, (), "15 requests do not make a steady load"),
    ],
)
def test_runs_unlike_the_plan_are_told_from_the_others(
    load: dict[str, Any], measured: dict[str, Any], vllm_args: tuple[str, ...], problem: str
) -> None:
    offered = sample.blank().offered_load.model_copy(update=load)
    found = unlike_plan(sample.hybrid_plan(), offered, sample.measurement(**measured), vllm_args)
    assert found == problem


def report(**changes: Any) -> dict[str, Any]:
    ranks = [
        {"weight_bytes": 4 * GIB, "kv_cache_bytes": GIB // 2, "kv_cache_blocks": 64}
        | {"activation_bytes": None, "cuda_graph_bytes": None, "peak_bytes": 5 * GIB}
        | {"used_bytes": 4 * GIB, "device_free_bytes": None},
        {"weight_bytes": 12 * GIB, "kv_cache_bytes": 2 * GIB, "kv_cache_blocks": 64}
        | {"activation_bytes": GIB, "cuda_graph_bytes": GIB // 4, "peak_bytes": 15 * GIB}
        | {"used_bytes": 14 * GIB, "device_free_bytes": 8 * GIB},
    ]
    return {"schema": "vllm_hetero.memory/1", "ranks": ranks} | changes


def write_report(folder: Path, content: str) -> None:
    path = memory_report_of(folder / sample.run("hybrid").server_log)
    path.parent.mkdir(parents=True)
    path.write_text(content)


def test_memory_is_kept_as_planned_and_as_reported(tmp_path: Path) -> None:
    write_report(tmp_path, json.dumps(report()))
    cpu, gpu = keep(sample.results(), tmp_path)[0].ranks
    assert (cpu.planned_weight_bytes, cpu.weight_bytes) == (4 * GIB, 4 * GIB)
    assert (gpu.kv_cache_blocks, gpu.activation_bytes) == (64, GIB)
    # 4 GiB of weights, 0.5 of KV cache, 0.5 of activations and 1 of framework were planned.
    assert cpu.error == pytest.approx(6 / 5 - 1)
    # 23 GiB were free before, 8 after: 1 GiB more than the rank counts. Its 0.5 GiB more of KV
    # cache than planned is no error.
    assert gpu.peak_bytes == 16 * GIB
    assert gpu.error == pytest.approx(15.5 / 16 - 1)


def test_second_copies_from_memory_that_was_left_over_are_no_error_of_the_plan(
    tmp_path: Path,
) -> None:
    told = report()
    told["ranks"][0] |= {"second_copy_bytes": GIB, "weight_bytes": 5 * GIB, "peak_bytes": 6 * GIB}
    write_report(tmp_path, json.dumps(told))
    cpu = keep(sample.results(), tmp_path)[0].ranks[0]
    assert (cpu.weight_bytes, cpu.peak_bytes) == (4 * GIB, 5 * GIB)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        json.dumps(report(schema="vllm_hetero.memory/2")),
        json.dumps(report(ranks=[])),
        json.dumps(report(ranks=[{}, {}])),
    ],
)
def test_without_a_readable_report_the_speed_is_kept(tmp_path: Path, content: str) -> None:
    write_report(tmp_path, content)
    hybrid, _ = keep(sample.results(), tmp_path)
    assert hybrid.ranks == ()
    assert hybrid.measured.output_tokens_per_s == 100
