"""From the options of ``hetctl bench`` to the configurations that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hetctl.cli import plan_options as options
from hetctl.errors import DoesNotFitError, HetctlError, UsageError

if TYPE_CHECKING:
    from hetctl.bench.baselines import Baseline
    from hetctl.bench.results import Configuration, Load, Results, Skipped
    from hetctl.bench.server import Server
    from hetctl.machine import Machine
    from hetctl.plan import Plan

HOST = "127.0.0.1"

_STRATEGIES = {
    "gpu+uva": ("uva",),
    "gpu+prefetch": ("prefetch",),
    "pipeline": ("pipeline",),
    "tensor": ("gpu-tp", "mixed-tp", "cpu-tp"),
}
"""The planner's names of what a baseline is, the first that can be."""


@dataclass(frozen=True)
class Prepared:
    """What is to be measured, on which machine."""

    machine: "Machine"
    configurations: "tuple[Configuration, ...]"
    skipped: "tuple[Skipped, ...]"


def prepare(
    inputs: options.PlanInputs, kinds: "Sequence[Baseline]", server_args: Sequence[str] = ()
) -> Prepared:
    """Plan the model and, to compare, the baselines; make ready what servers need."""
    from hetctl.bench.baselines import Planning, baselines, plan_configuration
    from hetctl.bench.results import Configuration, Skipped
    from hetctl.launch.command import launch_command
    from hetctl.launch.port import free_port

    port = free_port()
    planning = Planning(
        plan_baseline=partial(_plan_baseline, inputs),
        command=lambda plan: launch_command(plan, host=HOST, port=port, extra_args=server_args),
    )
    plan = inputs.plan()
    others = baselines(plan, planning, kinds)
    configurations = (
        plan_configuration(plan, planning),
        *(entry for entry in others if isinstance(entry, Configuration)),
    )
    make_ready(configurations)
    return Prepared(
        machine=inputs.machine,
        configurations=configurations,
        skipped=tuple(entry for entry in others if isinstance(entry, Skipped)),
    )


def make_ready(configurations: "Sequence[Configuration]") -> None:
    """See to what the servers need: kernels of CPU ranks, above all."""
    from hetctl.cli.activity import activity
    from hetctl.launch.preflight import prepare_runtime

    with activity() as say:
        for configuration in configurations:
            if configuration.plan is not None:
                prepare_runtime(configuration.plan, say)


def outside_baselines(
    against: "Sequence[str]", loads: "Sequence[Load]"
) -> "tuple[Configuration, ...]":
    """The servers that ``--against`` names.

    Raises:
        LaunchError: one does not answer.
        UsageError: one is not named rightly, or cannot hold the requests.
    """
    from hetctl.bench.outside import outside_configuration
    from hetctl.bench.workloads import longest_request

    needed_tokens = max(map(longest_request, loads))
    return tuple(outside_configuration(text, needed_tokens) for text in against)


def with_imports(results: "Results", imports: "Sequence[str]", folder: Path) -> "Results":
    """The results with the files that ``--import`` names beside them.

    Raises:
        UsageError: one cannot be read, or is of other work.
    """
    from hetctl.bench.imported import parse_import, with_import

    for text in imports:
        name, file = parse_import(text)
        results = with_import(results, name, file, folder)
    return results


def server_for(configuration: "Configuration", log: Path) -> "Server":
    """The server of a configuration: one to start, or one that runs elsewhere."""
    from hetctl.bench.outside import OutsideServer
    from hetctl.launch.server import Server

    if configuration.command is not None:
        return Server(configuration.command, log)
    assert configuration.outside is not None
    return OutsideServer(configuration.outside)


def _plan_baseline(inputs: options.PlanInputs, kind: "Baseline") -> "Plan":
    """The same model and load on one rank of a kind, or by one strategy.

    Raises:
        DoesNotFitError, UsageError: why it cannot be.
    """
    from hetctl.planner import parse_strategy

    if kind in ("gpu", "cpu"):
        request = replace(
            inputs.request,
            split="none",
            strategy="auto",
            devices=("cpu" if kind == "cpu" else _one_gpu(inputs),),
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


def _one_gpu(inputs: options.PlanInputs) -> str:
    """The largest of the GPUs that may be used.

    Raises:
        UsageError: there is none.
    """
    sizes = {f"cuda:{gpu.index}": gpu.memory_total_bytes for gpu in inputs.machine.gpus}
    if not sizes:
        raise UsageError("This machine has no GPU.")
    named = inputs.request.devices
    allowed = [name for name in named or sizes if name in sizes]
    if not allowed:
        raise UsageError(f"--devices {','.join(named or ())} leaves out every GPU.")
    return max(allowed, key=sizes.__getitem__)
