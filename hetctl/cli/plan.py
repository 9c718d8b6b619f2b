"""``hetctl plan``: which device should run which layers, and how fast that will be."""

from pathlib import Path
from typing import Annotated

import typer

from hetctl.cli import plan_options as options


def plan(
    model: options.Model,
    split: options.Split = "auto",
    strategy: options.Strategy = "auto",
    devices: options.Devices = None,
    cpu_ranks: options.CpuRanks = None,
    gpu_memory: options.GpuMemory = None,
    dtype: options.Dtype = "auto",
    machine: options.MachineChoice = None,
    objective: options.Objective = "throughput",
    ttft: options.Ttft = None,
    tpot: options.Tpot = None,
    max_model_len: options.MaxModelLen = None,
    concurrency: options.Concurrency = options.DEFAULT_CONCURRENCY,
    input_len: options.InputLen = options.DEFAULT_INPUT_LEN,
    output_len: options.OutputLen = options.DEFAULT_OUTPUT_LEN,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the plan document, and nothing else.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", metavar="FILE", help="Write the plan, for `hetctl serve --plan FILE`."
        ),
    ] = None,
) -> None:
    """Find the fastest split of MODEL over this machine's GPUs and CPUs.

    Reads the model's config.json only: nothing is loaded and nothing is started.
    """
    found = options.inputs_from_options(
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
        machine=machine,
        max_model_len=max_model_len,
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
    ).plan()
    from hetctl.cli.console import err, out
    from hetctl.cli.plan_view import plan_view

    if as_json:
        typer.echo(found.to_json(), nl=False)
    else:
        out.print(plan_view(found))
    if save is not None:
        found.save(save)
        err.print(f"Saved to {save}", markup=False, soft_wrap=True)
