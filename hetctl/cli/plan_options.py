"""What ``plan``, ``serve`` and ``bench`` share: the options that lead to a plan.

Each option is one ``Annotated`` type, so that the three commands cannot drift apart;
:func:`inputs_from_options` is the one way from their values to what a plan is made of.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hetctl.machine import Machine
    from hetctl.model.spec import ModelSpec
    from hetctl.plan import Plan
    from hetctl.planner import PlanRequest
    from hetctl.planner.evidence import Evidence
    from hetctl.sweep import Sweep, SweepField
    from hetctl.workload import Workload

_SPLIT = "Split"
_LOAD = "Load"
PANELS = (_SPLIT, _LOAD)
"""Of the options that lead to a plan."""

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model folder, or Hugging Face hub id.")
]
Split = Annotated[
    str,
    typer.Option(
        "--split",
        metavar="SPLIT",
        help="auto for the fastest, none for one device, or layers per stage: 8,24.",
        rich_help_panel=_SPLIT,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="DEV,DEV,...",
        help="Devices that may be used, in pipeline order, such as cpu,cuda:0 (default: all).",
        rich_help_panel=_SPLIT,
    ),
]
CpuRanks = Annotated[
    int | None,
    typer.Option(
        "--cpu-ranks",
        min=0,
        metavar="N",
        help="CPU ranks that must be used, 0 for none (default: where they help).",
        rich_help_panel=_SPLIT,
    ),
]
GpuMemory = Annotated[
    str | None,
    typer.Option(
        "--gpu-memory",
        metavar="SIZE",
        help="Pretend that each GPU has only this much memory, such as 12GiB.",
        rich_help_panel=_SPLIT,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="DTYPE",
        help="bfloat16, float16 or float32 to run in, or auto for vLLM's choice.",
        rich_help_panel=_SPLIT,
    ),
]
KvCacheDtype = Annotated[
    str,
    typer.Option(
        "--kv-cache-dtype",
        metavar="DTYPE",
        help="fp8, fp8_e4m3, fp8_e5m2, bfloat16 or float16 for the KV cache, or auto for vLLM's "
        "choice.",
        rich_help_panel=_SPLIT,
    ),
]
MachineChoice = Annotated[
    str | None,
    typer.Option(
        "--machine",
        metavar="NAME|FILE",
        help="Plan for a machine by name, such as rtx4090-ddr5, or for the one that "
        "`hetctl probe --save` wrote (default: this one).",
        rich_help_panel=_SPLIT,
    ),
]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="auto, or one of gpu, gpu-tp, uva, prefetch, uva-tp, prefetch-tp, pipeline, "
        "pipeline-uva, pipeline-prefetch, mixed-tp, cpu, cpu-tp.",
        rich_help_panel=_SPLIT,
    ),
]
Objective = Annotated[
    str,
    typer.Option(
        "--objective",
        metavar="NAME",
        help="throughput of all requests, or latency of a request that runs alone.",
        rich_help_panel=_LOAD,
    ),
]
Ttft = Annotated[
    str | None,
    typer.Option(
        "--ttft",
        metavar="TIME",
        help="Most time to the first token, such as 2s or 500ms.",
        rich_help_panel=_LOAD,
    ),
]
Tpot = Annotated[
    str | None,
    typer.Option(
        "--tpot",
        metavar="TIME",
        help="Most time from one token to the next, such as 80ms.",
        rich_help_panel=_LOAD,
    ),
]
Corrections = Annotated[
    bool,
    typer.Option(
        "--corrections/--no-corrections",
        help="Correct predictions by what past runs of `hetctl bench` on this machine showed.",
        rich_help_panel=_LOAD,
    ),
]
MaxModelLen = Annotated[
    int | None,
    typer.Option(
        "--max-model-len",
        min=1,
        metavar="TOKENS",
        help="Longest context to serve (default: the model's own, shortened to fit).",
        rich_help_panel=_LOAD,
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(
        "--concurrency",
        min=1,
        metavar="N",
        help="Requests in flight to plan for.",
        rich_help_panel=_LOAD,
    ),
]
InputLen = Annotated[
    int,
    typer.Option(
        "--input-len",
        min=1,
        metavar="TOKENS",
        help="Prompt length to plan for.",
        rich_help_panel=_LOAD,
    ),
]
OutputLen = Annotated[
    int,
    typer.Option(
        "--output-len",
        min=1,
        metavar="TOKENS",
        help="Answer length to plan for.",
        rich_help_panel=_LOAD,
    ),
]

DEFAULT_CONCURRENCY = 8
DEFAULT_INPUT_LEN = 512
DEFAULT_OUTPUT_LEN = 128


@dataclass(frozen=True)
class PlanInputs:
    """All that a plan is made of."""

    machine: "Machine"
    spec: "ModelSpec"
    workload: "Workload"
    request: "PlanRequest"

    def plan(self, explore: bool = False) -> "Plan":
        """The plan; ``explore`` also finds what would change it.

        Raises:
            UsageError: the request contradicts the machine, the model or itself.
            DoesNotFitError: no allowed split fits.
        """
        from hetctl.planner import make_plan

        return make_plan(self.machine, self.spec, self.workload, self.request, explore)

    def sweep(self, field: "SweepField", values: Sequence[int]) -> "Sweep":
        """Every strategy at each of ``values`` of a field of the workload.

        Raises:
            UsageError: the request contradicts the machine, the model or itself.
        """
        from hetctl.planner.sweeping import make_sweep

        return make_sweep(self.machine, self.spec, self.workload, self.request, field, values)


def inputs_from_options(
    model: str,
    *,
    split: str = "auto",
    devices: str | None = None,
    cpu_ranks: int | None = None,
    gpu_memory: str | None = None,
    dtype: str = "auto",
    kv_cache_dtype: str = "auto",
    machine: str | None = None,
    strategy: str = "auto",
    objective: str = "throughput",
    ttft: str | None = None,
    tpot: str | None = None,
    max_model_len: int | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    input_len: int = DEFAULT_INPUT_LEN,
    output_len: int = DEFAULT_OUTPUT_LEN,
    corrections: bool = True,
) -> PlanInputs:
    """What the options describe: this is where the model, the machine and its past are read.

    Raises:
        UsageError: an option is wrong, or the model or the machine file cannot be read.
    """
    from hetctl.model.config import read_model_spec
    from hetctl.planner import (
        PlanRequest,
        parse_devices,
        parse_goal,
        parse_split,
        parse_strategy,
    )
    from hetctl.units import parse_duration, parse_size
    from hetctl.workload import Workload

    # What can be wrong without looking at the model or the machine is told first.
    request = PlanRequest(
        split=parse_split(split),
        devices=None if devices is None else parse_devices(devices),
        cpu_ranks=cpu_ranks,
        gpu_memory_bytes=None if gpu_memory is None else parse_size(gpu_memory),
        strategy=parse_strategy(strategy),
        goal=parse_goal(
            objective,
            ttft_s=None if ttft is None else parse_duration(ttft),
            tpot_s=None if tpot is None else parse_duration(tpot),
        ),
    )
    workload = Workload(
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
        max_model_len=max_model_len,
    )
    spec = read_model_spec(model, dtype, kv_cache_dtype)
    found = load_machine(machine)
    past = load_evidence(found, spec, corrections)
    return PlanInputs(found, spec, workload, replace(request, evidence=past))


def load_evidence(machine: "Machine", spec: "ModelSpec", applied: bool) -> "Evidence":
    """What past runs on a machine say about models like this one.

    A line of the file that cannot be read is named on standard error and passed over.

    Raises:
        HetctlError: the file cannot be opened, or holds another machine's runs.
    """
    from hetctl.evidence.runs_path import runs_path
    from hetctl.planner.evidence import NO_EVIDENCE, Evidence, family_of

    # Most machines have no past, and reading one takes a while.
    if not machine.fingerprint or not runs_path(machine.fingerprint).is_file():
        return NO_EVIDENCE
    from hetctl.cli.console import err
    from hetctl.evidence.store import kept

    journal = kept(machine.fingerprint)
    for problem in journal.unreadable:
        err.print(f"[yellow]warning:[/] {problem}", soft_wrap=True)
    family = family_of(spec)
    return Evidence(
        tuple(record for record in journal.entries if record.family == family),
        applied=applied,
    )


def load_machine(choice: str | None) -> "Machine":
    """A machine by name, of a saved file, or this one, with every rate filled in.

    Rates are those that were measured on a machine of its kind, else those of the data.

    Raises:
        UsageError: neither a name nor a readable file; the known names are listed.
    """
    from hetctl.profiles import with_rates
    from hetctl.profiles.measured_file import COMMAND, has_others, profile_path

    if choice is None:
        from hetctl.probe.machine import probe_machine

        machine = probe_machine()
    elif Path(choice).is_file() or os.sep in choice or choice.endswith(".json"):
        from hetctl.machine import Machine

        machine = Machine.load(Path(choice))
    else:
        from hetctl.profiles.machines import load_named_machine

        return with_rates(load_named_machine(choice))
    if profile_path(machine.fingerprint).is_file():
        from hetctl.profiles.measured import with_measurements

        machine = with_measurements(machine)
    elif choice is None and has_others(machine.fingerprint):
        note = f"The measurements in the cache are of other machines; {COMMAND} measures this one."
        machine = machine.model_copy(update={"rate_notes": (*machine.rate_notes, note)})
    return with_rates(machine)
