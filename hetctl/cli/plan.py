"""``hetctl plan``: which device should run which layers, and how fast that will be."""

from pathlib import Path
from typing import Annotated

import typer

from hetctl.cli import plan_options as options
from hetctl.errors import UsageError


def plan(
    model: options.Model,
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
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep",
            metavar="FIELD=VALUES",
            help="Plan for a range of loads, such as concurrency=1,2,4,...,256 "
            "(or input-len, output-len).",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw time and memory per rank, and each strategy over concurrency "
            "(.png, .svg or .pdf).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan (or sweep) document, and nothing else.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="Write the plan, for `hetctl serve --plan FILE`."
        ),
    ] = None,
) -> None:
    """Find the fastest way to run MODEL on this machine's GPUs and CPUs, or on another's.

    Reads the model's config.json only: nothing is loaded and nothing is started.
    """
    if sweep is not None and (plot is not None or save is not None):
        raise UsageError("--sweep makes no plan to --save or --plot; leave one of them out.")
    if plot is not None:
        from hetctl.cli.plan_plot import check_plot_name

        check_plot_name(plot)
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
        machine=machine,
        max_model_len=max_model_len,
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
        corrections=corrections,
    )
    if sweep is not None:
        _show_sweep(inputs, sweep, as_json)
        return
    found = inputs.plan(explore=True)
    from hetctl.cli.console import err, out
    from hetctl.cli.plan_view import plan_view

    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        out.print(plan_view(found))
    if save is not None:
        found.save(save)
        err.print(f"Saved to {save}", markup=False, soft_wrap=True)
    if plot is not None:
        from hetctl.cli.plan_plot import plot_plan
        from hetctl.planner.sensitivity import CONCURRENCIES

        plot_plan(found, inputs.sweep("concurrency", CONCURRENCIES), plot)
        err.print(f"Drawn to {plot}", markup=False, soft_wrap=True)


def _show_sweep(inputs: options.PlanInputs, text: str, as_json: bool) -> None:
    from hetctl.cli.console import out
    from hetctl.cli.sweep_view import sweep_view
    from hetctl.planner.sweeping import parse_sweep

    found = inputs.sweep(*parse_sweep(text))
    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        out.print(sweep_view(found))
