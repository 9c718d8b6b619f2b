"""``hetctl serve``: run a plan as an OpenAI-compatible server."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hetctl.cli import plan_options as options
from hetctl.cli import service_options as service
from hetctl.cli.vllm_args import ModelAndVllmArgs, model_and_vllm_args
from hetctl.launch.emit.target import Target
from hetctl.launch.p2p import P2P

_LAUNCH = "Launch"


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
    host: service.Host = "127.0.0.1",
    port: service.Port = 8000,
    api_key_file: service.ApiKeyFile = None,
    api_key: service.ApiKey = None,
    p2p: Annotated[
        P2P,
        typer.Option(
            "--p2p",
            help="How stages pass activations to and from CPU ranks: shared memory, or TCP.",
            rich_help_panel=_LAUNCH,
        ),
    ] = P2P.SHM,
    start_timeout: service.StartTimeout = 1800,
    drain_timeout: service.DrainTimeout = 30,
    health_timeout: service.HealthTimeout = 120,
    restart: service.Restart = False,
    restart_limit: service.RestartLimit = 5,
    share_gpus: service.ShareGpus = False,
    log: service.Log = None,
    log_limit: service.LogLimit = "64MiB",
    log_keep: service.LogKeep = 5,
    log_json: service.LogJson = False,
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
            "variables that starts this server, or Grafana's dashboard for any, and start nothing.",
            rich_help_panel=_LAUNCH,
        ),
    ] = None,
) -> None:
    """Plan MODEL and run the plan as one vLLM engine.

    Ctrl-C or SIGTERM ends it, once running requests are answered; no process and no shared memory
    stays behind.
    """
    from hetctl.launch.api_key import api_key_of, hide_key_in_title
    from hetctl.launch.command import launch_command
    from hetctl.launch.emit.writers import fixed_file
    from hetctl.launch.middleware import middleware_arguments
    from hetctl.units import parse_size

    hide_key_in_title()
    if emit and (fixed := fixed_file(emit)):
        typer.echo(fixed, nl=False)
        return
    # What is emitted holds no key, and may name a file of another machine.
    key, warning = (None, None) if emit else api_key_of(api_key, api_key_file, os.environ)
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
    command = launch_command(
        plan,
        host=host,
        port=port,
        extra_args=[*vllm_args, *middleware_arguments()],
        p2p=p2p,
        drain_timeout_s=drain_timeout,
    )
    if emit is not None:
        from hetctl.cli.emit import service_file

        typer.echo(service_file(ctx, emit, plan, plan_file, vllm_args), nl=False)
        return
    if dry_run:
        typer.echo(_key_line(key, api_key_file) + command.as_shell(), nl=False)
        return
    from hetctl.cli.serving import Logs, run_service
    from hetctl.launch.service import Terms

    terms = Terms(
        start_timeout_s=start_timeout,
        drain_timeout_s=drain_timeout,
        health_timeout_s=health_timeout,
        restart=restart,
        restart_limit=restart_limit,
    )
    logs = Logs(log or _default_log(port), parse_size(log_limit), log_keep, as_json=log_json)
    run_service(plan, command, terms, logs, key=key, warning=warning, share_gpus=share_gpus)


def _default_log(port: int) -> Path:
    from hetctl.launch.state import state_folder

    return state_folder() / f"serve-{port}.log"


def _key_line(key: str | None, file: Path | None) -> str:
    """What the printed command needs for the key, which is not shown itself."""
    from hetctl.launch.api_key import VARIABLE

    if key is None:
        return ""
    if file is None:
        return f"# Set {VARIABLE} to the key, which is not shown here.\n"
    return f'export {VARIABLE}="$(cat {shlex.quote(str(file))})"\n'
