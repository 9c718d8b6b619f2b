"""``hetctl bench``: measure a plan, and what it must beat, under one load."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetctl.cli import plan_options as options
from hetctl.cli.vllm_args import ModelAndVllmArgs, model_and_vllm_args
from hetctl.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from hetctl.bench.baselines import Baseline
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Configuration, Load, Measurement, Results, Skipped
    from hetctl.bench.server import Server, ServerFactory
    from hetctl.cli.end_signals import EndSignals
    from hetctl.launch.command import LaunchCommand
    from hetctl.machine import Machine
    from hetctl.model.spec import ModelSpec
    from hetctl.plan import Plan

_PROMPTS_PER_SLOT = 4
"""Default number of prompts for each concurrent request: enough turns to reach a steady
state, few enough for a CPU rank to finish."""


@dataclass(frozen=True)
class Prepared:
    """What is to be measured, and how it is started."""

    machine: "Machine"
    spec: "ModelSpec"
    configurations: "tuple[Configuration, ...]"
    skipped: "tuple[Skipped, ...]"
    server_factory: "ServerFactory"
    vllm_args: tuple[str, ...] = ()


def bench(
    arguments: ModelAndVllmArgs = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure the baselines that can run here, too.")
    ] = False,
    split: options.Split = "auto",
    strategy: options.Strategy = "auto",
    devices: options.Devices = None,
    cpu_ranks: options.CpuRanks = None,
    gpu_memory: options.GpuMemory = None,
    dtype: options.Dtype = "auto",
    kv_cache_dtype: options.KvCacheDtype = "auto",
    objective: options.Objective = "throughput",
    ttft: options.Ttft = None,
    tpot: options.Tpot = None,
    max_model_len: options.MaxModelLen = None,
    concurrency: options.Concurrency = options.DEFAULT_CONCURRENCY,
    input_len: options.InputLen = options.DEFAULT_INPUT_LEN,
    output_len: options.OutputLen = options.DEFAULT_OUTPUT_LEN,
    corrections: options.Corrections = True,
    num_prompts: Annotated[
        int | None,
        typer.Option(min=1, help=f"Requests per run [default: {_PROMPTS_PER_SLOT}x concurrency]."),
    ] = None,
    request_rate: Annotated[
        float | None,
        typer.Option(help="Requests per second; without it, as fast as they are answered."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each configuration.")] = 1,
    warmups: Annotated[int, typer.Option(min=0, help="Requests before the clock starts.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random prompts.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results [default: hetctl-bench-TIME].")
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the runs to the results that --out holds, if any."),
    ] = False,
    ready_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a server may take to start.")
    ] = 1800,
    load_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that one load may take.")
    ] = 7200,
) -> None:
    """Measure a model as hetctl plans it; with --compare, against the baselines."""
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Load

    model, vllm_args = model_and_vllm_args(arguments)
    if request_rate is not None and not 0 < request_rate < float("inf"):
        raise UsageError(f"--request-rate must be a positive number, not {request_rate:g}.")
    load = Load(
        input_len=input_len,
        output_len=output_len,
        num_prompts=num_prompts or _PROMPTS_PER_SLOT * concurrency,
        max_concurrency=concurrency,
        request_rate=request_rate,
        seed=seed,
        num_warmups=warmups,
    )
    folder = out or Path(f"hetctl-bench-{datetime.now():%Y%m%d-%H%M%S}")
    if append and out is None:
        raise UsageError("--append needs --out, the folder that the runs are added to.")
    if not append:
        refuse_to_overwrite(folder)
    inputs = options.inputs_from_options(
        model,
        split=split,
        strategy=strategy,
        objective=objective,
        ttft=ttft,
        tpot=tpot,
        devices=devices,
        cpu_ranks=cpu_ranks,
        gpu_memory=gpu_memory,
        dtype=dtype,
        kv_cache_dtype=kv_cache_dtype,
        max_model_len=max_model_len or _context_for(input_len, output_len),
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
        corrections=corrections,
    )
    prepared = _prepare(inputs, compare, tuple(vllm_args))
    measure(model, load, prepared, repeats, folder, TimeLimits(ready_timeout, load_timeout))


def _context_for(input_len: int, output_len: int) -> int:
    """Room for the load's requests. The generator makes text of random tokens, and a
    tokenizer may cut the same text into some tokens more."""
    return input_len + output_len + max(64, input_len // 8)


def _prepare(
    inputs: options.PlanInputs, compare: bool, vllm_args: tuple[str, ...] = ()
) -> Prepared:
    """Plan the model and, to compare, the baselines; make ready what servers need."""
    from hetctl.bench.baselines import Planning, baselines, plan_configuration
    from hetctl.bench.results import Configuration, Skipped
    from hetctl.cli.activity import activity
    from hetctl.launch.command import launch_command
    from hetctl.launch.port import free_port
    from hetctl.launch.preflight import prepare_runtime
    from hetctl.launch.server import Server

    host, port = "127.0.0.1", free_port()
    planning = Planning(
        plan_baseline=partial(_plan_baseline, inputs),
        command=lambda plan, args: launch_command(
            plan, host=host, port=port, extra_args=(*args, *vllm_args)
        ),
    )
    plan = inputs.plan()
    others = baselines(plan, inputs.machine, planning) if compare else []
    configurations = (
        plan_configuration(plan, planning),
        *(entry for entry in others if isinstance(entry, Configuration)),
    )
    with activity() as say:
        for configuration in configurations:
            if configuration.plan is not None:
                prepare_runtime(configuration.plan, say)
    return Prepared(
        machine=inputs.machine,
        spec=inputs.spec,
        configurations=configurations,
        skipped=tuple(entry for entry in others if isinstance(entry, Skipped)),
        server_factory=Server,
        vllm_args=vllm_args,
    )


def _plan_baseline(inputs: options.PlanInputs, kind: "Baseline") -> "Plan":
    """The same model and load on one rank of a kind, or by one strategy."""
    request = inputs.request
    if kind in ("gpu", "cpu"):
        request = replace(
            request,
            split="none",
            strategy="auto",
            devices=("cpu",) if kind == "cpu" else ("cuda:0",),
            cpu_ranks=1 if kind == "cpu" else 0,
        )
    else:
        request = replace(request, split="auto", strategy=kind)
    return replace(inputs, request=request).plan()


def refuse_to_overwrite(folder: Path) -> None:
    """Raise UsageError if the folder holds results: hours of measurement are not replaced."""
    from hetctl.bench.compare import RESULTS_FILE

    if (folder / RESULTS_FILE).exists():
        raise UsageError(
            f"{folder} already holds results; choose another folder with --out, or --append."
        )


def measure(
    model: str,
    load: "Load",
    prepared: Prepared,
    repeats: int,
    folder: Path,
    limits: "TimeLimits",
) -> None:
    """Run the comparison, write the reports and show the outcome.

    Where the folder holds results, the runs are added to them.

    Raises:
        HetctlError: nothing could be measured.
        typer.Exit: with 130, when interrupted.
    """
    from hetctl.bench.append import with_more_runs
    from hetctl.bench.compare import RESULTS_FILE, compare
    from hetctl.bench.environment import describe_environment
    from hetctl.bench.load import run_load
    from hetctl.bench.results import Results
    from hetctl.cli.bench_progress import BenchProgress
    from hetctl.cli.console import err
    from hetctl.cli.end_signals import EndSignals

    blank = Results(
        model=model,
        environment=describe_environment(prepared.machine, Path.cwd()),
        offered_load=load,
        repeats=repeats,
        configurations=prepared.configurations,
        skipped=prepared.skipped,
    )
    path = folder / RESULTS_FILE
    if path.exists():
        blank = with_more_runs(Results.load(path), blank, str(folder))
    signals = EndSignals()

    def server(command: "LaunchCommand", log: Path) -> "Server":
        return _WaitedFor(prepared.server_factory(command, log), signals)

    def load_it(*args: Any) -> "Measurement":
        with signals.waiting():
            return run_load(*args)

    with signals.handled(), BenchProgress(blank, err) as progress:
        results = compare(blank, folder, server, progress, limits, load_it)
    _keep_runs(prepared, results, len(blank.runs), folder)
    if results.runs:
        show(results, folder)
    if results.interrupted:
        if not results.runs:
            err.print("Interrupted before the first run ended; nothing was measured.")
        raise typer.Exit(EXIT_INTERRUPTED)


def _keep_runs(prepared: Prepared, results: "Results", before: int, folder: Path) -> None:
    """Keep what the runs after the first ``before`` were predicted to do and did."""
    from hetctl.cli.console import err
    from hetctl.errors import HetctlError
    from hetctl.evidence.recording import records_of
    from hetctl.evidence.store import keep

    runs = results.runs[before:]
    try:
        for record in records_of(results, runs, prepared.spec, folder, prepared.vllm_args):
            keep(record)
    except HetctlError as error:
        err.print(f"[yellow]warning:[/] later plans will not know of this: {error}", soft_wrap=True)


def show(results: "Results", folder: Path) -> None:
    """Write the reports into the folder and print the comparison."""
    from hetctl.bench.report import write_reports
    from hetctl.bench.table import comparison_report
    from hetctl.cli.console import err, out

    paths = write_reports(results, folder)
    out.print(comparison_report(results, out))
    err.print("Wrote " + ", ".join(map(str, paths)), markup=False, soft_wrap=True)


class _WaitedFor:
    """A server that a signal interrupts while it is waited for, and at no other time."""

    def __init__(self, server: "Server", signals: "EndSignals") -> None:
        self._server = server
        self._signals = signals

    @property
    def base_url(self) -> str:
        return self._server.base_url

    def start(self) -> None:
        self._server.start()

    def wait_ready(self, timeout_s: float, on_progress: Callable[[str], None]) -> None:
        with self._signals.waiting():
            self._server.wait_ready(timeout_s, on_progress)

    def stop(self) -> None:
        self._server.stop()
