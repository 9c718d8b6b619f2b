"""``hetctl bench``: measure a plan, and what it must beat, under one load."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetctl.cli import bench_load as load_options
from hetctl.cli import plan_options as options
from hetctl.cli.bench_plan import (
    make_ready,
    outside_baselines,
    prepare,
    server_for,
    with_imports,
)
from hetctl.cli.vllm_args import ModelAndVllmArgs, model_and_vllm_args
from hetctl.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from hetctl.bench.compare import TimeLimits
    from hetctl.bench.results import Configuration, Measurement, Results
    from hetctl.bench.server import Server
    from hetctl.cli.end_signals import EndSignals

_NO_PREFIX_CACHE = ("--no-enable-prefix-caching",)
"""The warm-ups repeat the first prompt, which the prefix cache would then answer. Other random
prompts share nothing, so no configuration loses by it."""

_REPEATS = 3
"""Of a comparison, unless told otherwise: the fewest that give a useful confidence interval."""


def bench(
    context: typer.Context,
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
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="[NAME=]URL",
            help="Measure an OpenAI-compatible server that runs already, too: llama.cpp's, "
            "SGLang's; may be given several times.",
        ),
    ] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="NAME=FILE",
            help="Put another engine's own result file beside: of `vllm bench serve`, or of "
            "`llama-batched-bench --output-format jsonl`; may be given several times.",
        ),
    ] = None,
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
    e2el: load_options.E2el = None,
    max_model_len: options.MaxModelLen = None,
    workload: load_options.WorkloadName = "random",
    concurrency: load_options.Concurrencies = None,
    request_rate: load_options.RequestRates = None,
    burstiness: load_options.Burstiness = 1.0,
    input_len: load_options.InputLen = None,
    output_len: load_options.OutputLen = None,
    corrections: options.Corrections = True,
    num_prompts: load_options.NumPrompts = None,
    warmups: load_options.Warmups = None,
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
            help=f"Runs of each configuration [default: 1, and {_REPEATS} of a comparison; hetctl "
            "gate needs 5].",
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
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="DIR",
            help="Go on with the benchmark in this folder where it was stopped or killed.",
        ),
    ] = None,
    start_timeout: Annotated[
        float,
        # The second is what it was called before it was called as in `hetctl serve`.
        typer.Option(
            "--start-timeout",
            "--ready-timeout",
            min=1,
            help="Seconds that a server may take to start.",
        ),
    ] = 1800,
    load_timeout: Annotated[
        float, typer.Option("--load-timeout", min=1, help="Seconds that one load may take.")
    ] = 7200,
) -> None:
    """Measure a model as hetctl plans it; with --compare, against the baselines.

    A sweep, such as --concurrency 1,2,4,8,16, measures all of its loads on each server that is
    started, and finds where the throughput ends to grow.
    """
    from hetctl.bench.append import with_more_runs
    from hetctl.bench.baselines import BASELINES, parse_baselines
    from hetctl.bench.compare import RESULTS_FILE, TimeLimits
    from hetctl.bench.environment import describe_environment
    from hetctl.bench.outside import with_unique_names
    from hetctl.bench.results import Results
    from hetctl.bench.resume import resumed
    from hetctl.bench.sole_use import sole_use
    from hetctl.model.config import read_model_spec

    limits = TimeLimits(start_timeout, load_timeout)
    if resume is not None and not arguments:
        if others := _other_options(context):
            raise UsageError(
                f"--resume {resume} alone goes on with what it holds; {', '.join(others)} would "
                "change that. Leave it out, or give the whole command again."
            )
        _resume(resume, limits, imports or ())
        return
    if resume is not None and (append or out is not None):
        raise UsageError("--resume names the folder itself; leave out --out and --append.")
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
    folder = resume or out or Path(f"hetctl-bench-{datetime.now():%Y%m%d-%H%M%S}")
    if append and out is None:
        raise UsageError("--append needs --out, the folder that the runs are added to.")
    if not append and resume is None:
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
        max_model_len=load_options.context_for(loads, read_model_spec(model, dtype), max_model_len),
        # One server runs all points, so it is planned for the heaviest.
        concurrency=max(load.max_concurrency or 0 for load in loads)
        or load_options.DEFAULT_CONCURRENCY,
        input_len=kind_of_load.input_len,
        output_len=kind_of_load.output_len,
        corrections=corrections,
    )
    outside = outside_baselines(against or (), loads)
    prefix_cache = () if kind_of_load.reuses_prefixes else _NO_PREFIX_CACHE
    prepared = prepare(inputs, kinds, (*prefix_cache, *vllm_args))
    asked = Results(
        model=model,
        spec=inputs.spec,
        environment=describe_environment(prepared.machine, Path.cwd()),
        loads=loads,
        repeats=repeats or (_REPEATS if kinds or outside or imports else 1),
        stop_when_flat=not full_sweep,
        configurations=with_unique_names((*prepared.configurations, *outside)),
        skipped=prepared.skipped,
    )
    path = folder / RESULTS_FILE
    with sole_use(folder):
        asked = with_imports(asked, imports or (), folder)
        if resume is not None:
            asked = resumed(Results.load(path), asked, str(resume))
        elif path.exists():
            asked = with_more_runs(Results.load(path), asked, str(folder))
        results = measure(asked, folder, limits)
        _keep_runs(results, len(asked.runs), folder, vllm_args)
        finish(results, folder)


def _resume(folder: Path, limits: "TimeLimits", imports: "Sequence[str]") -> None:
    """Go on with the results in ``folder``, whose command is not repeated."""
    from hetctl.bench.compare import RESULTS_FILE
    from hetctl.bench.environment import describe_environment
    from hetctl.bench.results import Results
    from hetctl.bench.resume import begun_again, resumed
    from hetctl.bench.sole_use import sole_use
    from hetctl.launch.port import free_port

    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} to go on with.")
    with sole_use(folder):
        before = Results.load(folder / RESULTS_FILE)
        environment = describe_environment(options.load_machine(None), Path.cwd())
        again = begun_again(before, environment, free_port())
        make_ready(again.configurations)
        going_on = resumed(before, again, str(folder))
        results = measure(with_imports(going_on, imports, folder), folder, limits)
        # What went to vLLM beside the plan is not known here, so plans cannot learn from it.
        finish(results, folder)


def _other_options(context: typer.Context) -> list[str]:
    """Options on the command line besides those that a resumed benchmark may change."""
    allowed = {"imports", "resume", "start_timeout", "load_timeout"}
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if name not in allowed and source is not None and source.name == "COMMANDLINE"
    ]


def refuse_to_overwrite(folder: Path) -> None:
    """Raise UsageError if the folder holds results: hours of measurement are not replaced."""
    from hetctl.bench.compare import RESULTS_FILE

    if (folder / RESULTS_FILE).exists():
        raise UsageError(
            f"{folder} already holds results; choose another folder with --out, go on where it "
            f"ended with --resume {folder}, or add runs to it with --append."
        )


def measure(asked: "Results", folder: Path, limits: "TimeLimits") -> "Results":
    """Run what is left of the comparison.

    Raises:
        HetctlError: nothing could be measured.
    """
    from hetctl.bench.compare import compare
    from hetctl.bench.load import run_load
    from hetctl.bench.requests import requests_file
    from hetctl.cli.bench_progress import BenchProgress
    from hetctl.cli.console import err
    from hetctl.cli.end_signals import EndSignals

    for load in asked.loads:
        requests_file(load, asked.model, folder)
    signals = EndSignals()

    def server(configuration: "Configuration", log: Path) -> "Server":
        return _WaitedFor(server_for(configuration, log), signals)

    def load_it(*args: Any) -> "Measurement":
        with signals.waiting():
            return run_load(*args)

    with signals.handled(), BenchProgress(asked, err) as progress:
        return compare(asked, folder, server, progress, limits, load_it)


def _keep_runs(results: "Results", before: int, folder: Path, vllm_args: "Sequence[str]") -> None:
    """Keep what the runs after the first ``before`` were predicted to do and did."""
    from hetctl.cli.console import warn
    from hetctl.errors import HetctlError
    from hetctl.evidence.recording import records_of
    from hetctl.evidence.store import keep

    try:
        for record in records_of(results, results.runs[before:], folder, vllm_args):
            keep(record)
    except HetctlError as error:
        warn(f"later plans will not know of this: {error}")


def finish(results: "Results", folder: Path) -> None:
    """Write the reports and show the outcome.

    Raises:
        typer.Exit: with 130, when interrupted.
    """
    from hetctl.cli.console import err

    if results.runs:
        show(results, folder)
    if results.interrupted:
        if not results.runs:
            err.print("Interrupted before the first run ended; nothing was measured.")
        err.print(f"Go on with: hetctl bench --resume {folder}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_INTERRUPTED)


def show(results: "Results", folder: Path, parquet: bool = False) -> None:
    """Write the reports into the folder and print the comparison."""
    from hetctl.bench.report import write_reports
    from hetctl.bench.saturation import busiest_point
    from hetctl.bench.sweep_table import sweep_headline, sweep_table
    from hetctl.bench.table import comparison_report
    from hetctl.cli.console import err, out

    paths = write_reports(results, folder, parquet)
    if len(results.loads) > 1:
        out.print(sweep_headline(results))
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

    @property
    def pid(self) -> int | None:
        return self._server.pid

    def start(self) -> None:
        self._server.start()

    def wait_ready(self, timeout_s: float, on_progress: Callable[[str], None]) -> None:
        with self._signals.waiting():
            self._server.wait_ready(timeout_s, on_progress)

    def require_alive(self) -> None:
        self._server.require_alive()

    def stop(self) -> None:
        self._server.stop()
