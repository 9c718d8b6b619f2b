"""``hetctl serve``: run a plan as an OpenAI-compatible server."""

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.cli import plan_options as options
from hetctl.cli.vllm_args import ModelAndVllmArgs, model_and_vllm_args
from hetctl.launch.emit.target import Target
from hetctl.launch.p2p import P2P

if TYPE_CHECKING:
    from hetctl.launch.command import LaunchCommand
    from hetctl.plan import Plan

_LAUNCH = "Launch"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WATCH_S = 1.0


def serve(
    ctx: typer.Context,
    arguments: ModelAndVllmArgs = None,
    split: options.Split = "auto",
    strategy: options.Strategy = "auto",
    devices: options.Devices = None,
    cpu_ranks: options.CpuRanks = None,
    gpu_memory: options.GpuMemory = None,
    dtype: options.Dtype = "auto",
    kv_cache_dtype: options.KvCacheDtype = "auto",
    machine: options.MachineChoice = None,
    objective: options.Objective = "throughput",
    ttft: options.Ttft = None,
    tpot: options.Tpot = None,
    max_model_len: options.MaxModelLen = None,
    concurrency: options.Concurrency = options.DEFAULT_CONCURRENCY,
    input_len: options.InputLen = options.DEFAULT_INPUT_LEN,
    output_len: options.OutputLen = options.DEFAULT_OUTPUT_LEN,
    corrections: options.Corrections = True,
    plan_file: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="Run the plan that `hetctl plan --save` wrote, instead of planning.",
            rich_help_panel=_LAUNCH,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=_LAUNCH)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to listen on.", rich_help_panel=_LAUNCH)
    ] = 8000,
    p2p: Annotated[
        P2P,
        typer.Option(
            "--p2p",
            help="How stages pass activations to and from CPU ranks: shared memory, or TCP.",
            rich_help_panel=_LAUNCH,
        ),
    ] = P2P.SHM,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Where vLLM's output goes. [default: ~/.local/state/hetctl/serve-PORT.log]",
            rich_help_panel=_LAUNCH,
        ),
    ] = None,
    start_timeout: Annotated[
        float,
        typer.Option(
            "--start-timeout",
            min=1,
            metavar="SECONDS",
            help="Longest start to wait for.",
            rich_help_panel=_LAUNCH,
        ),
    ] = 1800,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the environment and the command, and start nothing.",
            rich_help_panel=_LAUNCH,
        ),
    ] = False,
    emit: Annotated[
        Target | None,
        typer.Option(
            "--emit",
            help="Print a systemd unit, a Kubernetes manifest, a Compose file or a file of "
            "variables that starts this server, and start nothing.",
            rich_help_panel=_LAUNCH,
        ),
    ] = None,
) -> None:
    """Plan MODEL and run the plan as one vLLM engine.

    Ctrl-C or SIGTERM ends it; no process and no shared memory stays behind.
    """
    from hetctl.launch.command import launch_command
    from hetctl.launch.middleware import middleware_arguments

    model, vllm_args = model_and_vllm_args(arguments, plan_file)
    if plan_file is not None:
        from hetctl.plan import Plan

        plan = Plan.load(plan_file)
    else:
        plan = options.inputs_from_options(
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
            machine=machine,
            max_model_len=max_model_len,
            concurrency=concurrency,
            input_len=input_len,
            output_len=output_len,
            corrections=corrections,
        ).plan()
    extra_args = [*vllm_args, *middleware_arguments()]
    command = launch_command(plan, host=host, port=port, extra_args=extra_args, p2p=p2p)
    if emit is not None:
        from hetctl.cli.emit import service_file

        typer.echo(service_file(ctx, emit, plan, plan_file, vllm_args), nl=False)
        return
    if dry_run:
        typer.echo(command.as_shell(), nl=False)
        return
    _run(plan, command, log or _default_log(port), start_timeout)


def _default_log(port: int) -> Path:
    from hetctl.launch.state import state_folder

    return state_folder() / f"serve-{port}.log"


def _run(plan: "Plan", command: "LaunchCommand", log: Path, start_timeout: float) -> None:
    from hetctl.cli.activity import activity
    from hetctl.cli.console import err, out, warn
    from hetctl.cli.end_signals import EndRequested, EndSignals
    from hetctl.cli.plan_view import plan_view
    from hetctl.launch.port import require_free_port
    from hetctl.launch.preflight import prepare_runtime
    from hetctl.launch.server import Server

    require_free_port(command.host, command.port)
    err.print(plan_view(plan))
    if command.host not in _LOOPBACK:
        warn(
            f"{command.host} can be reached by others, and vLLM asks nobody for a key unless told "
            "so (-- --api-key KEY)."
        )
    with activity() as say:
        prepare_runtime(plan, say)
    # Preparing may have taken minutes.
    require_free_port(command.host, command.port)
    server = Server(command, log)
    signals = EndSignals()
    with signals.handled(), server:
        err.print(f"Log: {log}", markup=False, soft_wrap=True)
        with suppress(EndRequested), signals.waiting():
            with activity("starting vLLM") as say:
                server.wait_ready(start_timeout, lambda phase: say(f"starting vLLM: {phase}"))
            out.print(
                f"Ready: {command.base_url}/v1  model {command.model_name}  (Ctrl-C ends it)",
                markup=False,
                soft_wrap=True,
            )
            while True:
                server.require_alive()
                time.sleep(_WATCH_S)
