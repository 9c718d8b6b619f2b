"""Results of a benchmark -> what is kept of each run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hetctl.bench.results import Load, Measurement, Results, Run
from hetctl.launch.server import memory_report_of
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.plan import Plan, RankPlan
from hetctl.planner.evidence import away_share, family_of, rates_digest
from hetctl.run_record import RankUse, RunRecord, Speed
from hetctl.workload import Workload

_SCHEMA = "vllm_hetero.memory/1"

_HARMLESS = frozenset(
    ("--load-format", "--seed", "--served-model-name", "--no-enable-prefix-caching")
)
"""Options of ``vllm serve`` that make no run faster or slower than planned."""

# With fewer requests than this for each concurrent one, the load is never whole for long.
_LEAST_TURNS = 2


def records_of(
    results: Results,
    runs: Sequence[Run],
    folder: Path,
    vllm_args: Sequence[str] = (),
) -> Iterator[RunRecord]:
    """What to keep of ``runs``; nothing of configurations that hetctl did not plan.

    Args:
        results: What the runs are of.
        runs: Those of one call of ``hetctl bench``.
        folder: Of the results.
        vllm_args: What the user passed through to vLLM.
    """
    if not runs or results.spec is None or not results.environment.machine.fingerprint:
        return
    session = f"{min(run.started for run in runs):%Y-%m-%dT%H:%M:%S.%fZ}"
    for run in runs:
        plan = results.configuration(run.configuration).plan
        if plan is not None:
            load = results.load_at(run.point)
            problem = unlike_plan(plan, load, run.measurement, vllm_args)
            yield _record(results, run, plan, results.spec, folder, session, problem)


def _record(
    results: Results,
    run: Run,
    plan: Plan,
    spec: ModelSpec,
    folder: Path,
    session: str,
    problem: str,
) -> RunRecord:
    environment, measured = results.environment, run.measurement
    told = plan.prediction.uncorrected
    versions = environment.versions.model_dump(exclude={"hetctl"})
    return RunRecord(
        machine_fingerprint=environment.machine.fingerprint,
        session=session,
        started=run.started,
        rates_digest=rates_digest(environment.machine),
        predictor_version=plan.predictor_version,
        versions=versions,
        model=plan.model,
        family=family_of(spec),
        parameters=plan.model_parameters,
        strategy=plan.strategy,
        devices=plan.devices,
        split=plan.split,
        offload=plan.offload,
        away_share=away_share(plan.ranks),
        workload=plan.workload,
        predicted=Speed(
            ttft_s=told.ttft_s,
            tpot_s=told.tpot_s,
            output_tokens_per_s=told.output_tokens_per_s,
        ),
        measured=Speed(
            ttft_s=measured.ttft.p50_s,
            tpot_s=measured.tpot.p50_s,
            output_tokens_per_s=measured.output_throughput,
        ),
        completed=measured.completed,
        ranks=_ranks(plan, environment.machine, folder, run),
        unlike_plan=problem,
    )


def unlike_plan(
    plan: Plan, load: Load, measured: Measurement, vllm_args: Sequence[str] = ()
) -> str:
    """Why a run says nothing about plans, as a clause; empty where it does."""
    if load.request_rate is not None or load.max_concurrency is None:
        return "requests came at a rate of their own"
    sent = Workload(
        concurrency=load.max_concurrency,
        input_len=load.input_len,
        output_len=load.output_len,
        max_model_len=plan.workload.max_model_len,
    )
    if load.dataset != "random" or sent != plan.workload:
        return "the load was not the planned one"
    options = {word.partition("=")[0] for word in vllm_args if word.startswith("-")}
    if measured.failed:
        return f"{measured.failed} requests failed"
    if measured.completed < _LEAST_TURNS * plan.workload.concurrency:
        return f"{measured.completed} requests do not make a steady load"
    if changed := sorted(options - _HARMLESS):
        return f"vLLM was given {changed[0]}"
    return ""


def _ranks(plan: Plan, machine: Machine, folder: Path, run: Run) -> tuple[RankUse, ...]:
    """Planned and reported memory of each rank; empty without a readable report."""
    if run.server_log is None:
        return ()
    report = memory_report_of(folder / run.server_log)
    free = {f"cuda:{gpu.index}": gpu.memory_free_bytes for gpu in machine.gpus}
    try:
        document = json.loads(report.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA:
            return ()
        return tuple(
            _use(planned, reported, free.get(planned.device))
            for planned, reported in zip(plan.ranks, document["ranks"], strict=True)
        )
    except (OSError, ValueError, TypeError, LookupError):
        return ()


def _use(planned: RankPlan, reported: dict[str, Any], free_before_bytes: int | None) -> RankUse:
    # What a CPU rank makes of memory that is left over, no plan asks for.
    spare = reported.get("second_copy_bytes", 0)
    taken = reported["peak_bytes"] - spare
    if free_before_bytes is not None:
        # With the CUDA context, which is made before the rank begins to count.
        context = free_before_bytes - reported["device_free_bytes"] - reported["used_bytes"]
        taken += max(0, context)
    return RankUse(
        rank=planned.rank,
        device=planned.device,
        planned_weight_bytes=planned.weight_bytes,
        planned_kv_cache_bytes=planned.kv_cache_bytes,
        planned_bytes=planned.used_bytes,
        weight_bytes=reported["weight_bytes"] - spare,
        kv_cache_bytes=reported["kv_cache_bytes"],
        kv_cache_blocks=reported["kv_cache_blocks"],
        activation_bytes=reported["activation_bytes"],
        cuda_graph_bytes=reported["cuda_graph_bytes"],
        peak_bytes=taken,
    )
