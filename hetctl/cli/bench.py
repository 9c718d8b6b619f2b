"""``hetctl bench``: measure a plan, and what it must beat, under one load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetctl.cli import bench_load as load_options
from hetctl.cli import plan_options as options
from hetctl.cli.vllm_args import ModelAndVllmArgs, model_and_vllm_args
from hetctl.errors import EXIT_INTERRUPTED, DoesNotFitError, HetctlError, UsageError

if TYPE_CHECKING:
    from hetctl.bench.baselines import Baseline
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Configuration, Load, Measurement, Results, Skipped
    from hetctl.bench.server import Server, ServerFactory
    from hetctl.cli.end_signals import EndSignals
    from hetctl.launch.command import LaunchCommand
    from hetctl.machine import Machine
    from hetctl.plan import Plan

_NO_PREFIX_CACHE = ("--no-enable-prefix-caching",)
"""The warm-ups repeat the first prompt, which the prefix cache would then answer. Other random
prompts share nothing, so no configuration loses by it."""

_STRATEGIES = {
    "gpu+uva": ("uva",),
    "gpu+prefetch": ("prefetch",),
    "pipeline": ("pipeline",),
    "tensor": ("gpu-tp", "mixed-tp", "cpu-tp"),
}
"""The planner's names of what a baseline is, the first that can be."""

_REPEATS = 3
"""Of a comparison, unless told otherwise: the fewest that give a useful confidence interval."""


@dataclass(frozen=True)
class Prepared:
    """What is to be measured, and how it is started."""

    machine: "Machine"
    configurations: "tuple[Configuration, ...]"
    skipped: "tuple[Skipped, ...]"
    server_factory: "ServerFactory"


@dataclass(frozen=True)
class Asked:
    """How often what is sent."""

    loads: "tuple[Load, ...]"
    repeats: int
    stop_when_flat: bool = False


def bench(
    arguments: ModelAndVllmArgs = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Measure the baselines that can run here, too.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME,NAME,...",
            help="Measure these baselines, too: gpu, gpu+uva, gpu+prefetch, cpu, pipeline, tensor "
            "or auto.",
        ),
    ] = None,
    split: options.Split = "auto",
    strategy: options.Strategy = "auto",
    devices: options.Devices = None,
    cpu_ranks: options.CpuRanks = None,
    gpu_memory: options.GpuMemory = None,
    dtype: options.Dtype = "auto",
    objective: options.Objective = "throughput",
    ttft: options.Ttft = None,
    tpot: options.Tpot = None,
    e2el: load_options.E2el = None,
    max_model_len: options.MaxModelLen = None,
    workload: load_options.WorkloadName = "random",
    concurrency: load_options.Concurrencies = None,
    request_rate: load_options.RequestRates = None,
    burstiness: load_options.Burstiness = 1.0,
    input_len: load_options.InputLen = None,
    output_len: load_options.OutputLen = None,
    num_prompts: load_options.NumPrompts = None,
    warmups: load_options.Warmups = 2,
    seed: load_options.Seed = 0,
    full_sweep: Annotated[
        bool,
        typer.Option(
            "--full-sweep",
            help="Measure every point of a sweep, also where two in a row brought less than 5% "
            "more throughput.",
        ),
    ] = False,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=1,
            metavar="N",
            help=f"Runs of each configuration [default: 1, and {_REPEATS} of a comparison].",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the results [default: hetctl-bench-TIME]."),
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Add the runs to the results that --out holds, if any."),
    ] = False,
    ready_timeout: Annotated[
        float,
        typer.Option("--ready-timeout", min=1, help="Seconds that a server may take to start."),
    ] = 1800,
    load_timeout: Annotated[
        float, typer.Option("--load-timeout", min=1, help="Seconds that one load may take.")
    ] = 7200,
) -> None:
    """Measure a model as hetctl plans it; with --compare, against the baselines.

    A sweep, such as --concurrency 1,2,4,8,16, measures all of its loads on each server that is
    started, and finds where the throughput ends to grow.
    """
    from hetctl.bench.baselines import BASELINES, parse_baselines
    from hetctl.bench.compare import TimeLimits
    from hetctl.model.config import read_model_spec

    model, vllm_args = model_and_vllm_args(arguments)
    by_hand = (split, strategy, devices, cpu_ranks) != ("auto", "auto", None, None)
    all_kinds = [kind for kind in BASELINES if by_hand or kind != "auto"]
    kinds = parse_baselines(baseline) if baseline else all_kinds if compare else ()
    kind_of_load, loads = load_options.LoadOptions(
        workload=workload,
        concurrency=concurrency,
        request_rate=request_rate,
        burstiness=burstiness,
        input_len=input_len,
        output_len=output_len,
        num_prompts=num_prompts,
        warmups=warmups,
        seed=seed,
        ttft=ttft,
        tpot=tpot,
        e2el=e2el,
    ).loads()
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
        max_model_len=load_options.context_for(loads, read_model_spec(model, dtype), max_model_len),
        # One server runs all points, so it is planned for the heaviest.
        concurrency=max(load.max_concurrency or 0 for load in loads)
        or load_options.DEFAULT_CONCURRENCY,
        input_len=kind_of_load.input_len,
        output_len=kind_of_load.output_len,
    )
    prefix_cache = () if kind_of_load.reuses_prefixes else _NO_PREFIX_CACHE
    prepared = _prepare(inputs, kinds, (*prefix_cache, *vllm_args))
    asked = Asked(loads, repeats or (_REPEATS if kinds else 1), stop_when_flat=not full_sweep)
    measure(model, asked, prepared, folder, TimeLimits(ready_timeout, load_timeout))


def _prepare(
    inputs: options.PlanInputs, kinds: "Sequence[Baseline]", server_args: tuple[str, ...] = ()
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
        command=lambda plan: launch_command(plan, host=host, port=port, extra_args=server_args),
    )
    plan = inputs.plan()
    others = baselines(plan, planning, kinds)
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
        configurations=configurations,
        skipped=tuple(entry for entry in others if isinstance(entry, Skipped)),
        server_factory=lambda configuration, log: Server(_command(configuration), log),
    )


def _command(configuration: "Configuration") -> "LaunchCommand":
    assert configuration.command is not None
    return configuration.command


def _plan_baseline(inputs: options.PlanInputs, kind: "Baseline") -> "Plan":
    """The same model and load on one rank of a kind, or by one strategy.

    Raises:
        DoesNotFitError, UsageError: why it cannot be.
    """
    from hetctl.planner import parse_strategy

    alone = {"gpu": ("cuda:0",), "cpu": ("cpu",)}
    if kind in alone:
        request = replace(
            inputs.request,
            split="none",
            strategy="auto",
            devices=alone[kind],
            cpu_ranks=1 if kind == "cpu" else 0,
        )
        return replace(inputs, request=request).plan()
    if kind == "auto":
        request = replace(
            inputs.request, split="auto", strategy="auto", devices=None, cpu_ranks=None
        )
        return replace(inputs, request=request).plan()
    first: HetctlError | None = None
    for strategy in _STRATEGIES[kind]:
        try:
            request = replace(inputs.request, split="auto", strategy=parse_strategy(strategy))
            return replace(inputs, request=request).plan()
        except (DoesNotFitError, UsageError) as error:
            first = first or error
    assert first is not None
    raise first


def refuse_to_overwrite(folder: Path) -> None:
    """Raise UsageError if the folder holds results: hours of measurement are not replaced."""
    from hetctl.bench.compare import RESULTS_FILE

    if (folder / RESULTS_FILE).exists():
        raise UsageError(
            f"{folder} already holds results; choose another folder with --out, or --append."
        )


def measure(
    model: str, asked: Asked, prepared: Prepared, folder: Path, limits: "TimeLimits"
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
    from hetctl.bench.requests import requests_file
    from hetctl.bench.results import Results
    from hetctl.cli.bench_progress import BenchProgress
    from hetctl.cli.console import err
    from hetctl.cli.end_signals import EndSignals

    blank = Results(
        model=model,
        environment=describe_environment(prepared.machine, Path.cwd()),
        loads=asked.loads,
        repeats=asked.repeats,
        stop_when_flat=asked.stop_when_flat,
        configurations=prepared.configurations,
        skipped=prepared.skipped,
    )
    path = folder / RESULTS_FILE
    if path.exists():
        blank = with_more_runs(Results.load(path), blank, str(folder))
    for load in blank.loads:
        requests_file(load, model, folder)
    signals = EndSignals()

    def server(configuration: "Configuration", log: Path) -> "Server":
        return _WaitedFor(prepared.server_factory(configuration, log), signals)

    def load_it(*args: Any) -> "Measurement":
        with signals.waiting():
            return run_load(*args)

    with signals.handled(), BenchProgress(blank, err) as progress:
        results = compare(blank, folder, server, progress, limits, load_it)
    if results.runs:
        show(results, folder)
    if results.interrupted:
        if not results.runs:
            err.print("Interrupted before the first run ended; nothing was measured.")
        raise typer.Exit(EXIT_INTERRUPTED)


def show(results: "Results", folder: Path) -> None:
    """Write the reports into the folder and print the comparison."""
    from hetctl.bench.report import write_reports
    from hetctl.bench.saturation import busiest_point
    from hetctl.bench.sweep_table import sweep_table
    from hetctl.bench.table import comparison_report
    from hetctl.cli.console import err, out

    paths = write_reports(results, folder)
    if len(results.loads) > 1:
        out.print(sweep_table(results, ascii_only=out.options.ascii_only))
    out.print(comparison_report(results.at(busiest_point(results)), out))
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

    def require_alive(self) -> None:
        self._server.require_alive()

    def stop(self) -> None:
        self._server.stop()
