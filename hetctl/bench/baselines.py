"""Which configurations a comparison consists of: the plan, and what it must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.offload import gpu_overflow_bytes, prefetch_args, uva_args
from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError, UsageError
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.plan import Plan
from hetctl.units import format_bytes

Alone = Literal["gpu", "cpu"]

BENCH_SERVER_ARGS = ("--no-enable-prefix-caching",)
"""Given to every server: the warm-ups repeat the first prompt, which the prefix cache would
then answer. Other random prompts share nothing, so no configuration loses by it."""

_ALONE: dict[Alone, tuple[str, str]] = {
    "gpu": ("GPU alone", "What vLLM does by itself when the model fits one GPU."),
    "cpu": ("One CPU rank", "What vLLM does by itself on the cores of one NUMA node."),
}


@dataclass(frozen=True)
class Planning:
    """What the comparison needs of the planner and the launcher."""

    plan_alone: Callable[[Alone], Plan]
    """Plans one rank of this kind and nothing else; raises DoesNotFitError or UsageError
    with the reason when it cannot be."""
    command: Callable[[Plan, tuple[str, ...]], LaunchCommand]
    """The launch of a plan, with arguments added to ``vllm serve``."""
    offload_command: Callable[[Plan, tuple[str, ...]], LaunchCommand]
    """A plain ``vllm serve`` on the GPUs of a plan, with arguments added."""


def plan_configuration(plan: Plan, planning: Planning) -> Configuration:
    """The plan under test."""
    devices = " + ".join(plan.devices)
    return Configuration(
        name=_plan_name(plan),
        title=f"Pipeline over {devices}" if len(plan.ranks) > 1 else f"{devices} alone",
        role="plan",
        why=f"What hetctl plans here: {'+'.join(map(str, plan.split))} layers on {devices}.",
        plan=plan,
        command=planning.command(plan, BENCH_SERVER_ARGS),
    )


def baselines(
    plan: Plan, machine: Machine, spec: ModelSpec, planning: Planning
) -> list[Configuration | Skipped]:
    """What the plan must beat: what can run here, and why the rest cannot."""
    kinds: tuple[Alone, ...] = ("gpu", "cpu") if machine.gpus else ("cpu",)
    found = [_alone(kind, planning) for kind in kinds if kind != _plan_name(plan)]
    if "cuda" in _kinds(plan) and "cpu" in _kinds(plan):
        found += _offloads(plan, spec, planning)
    return found


def _kinds(plan: Plan) -> set[str]:
    """``cuda``, ``cpu`` or both."""
    return {device.partition(":")[0] for device in plan.devices}


def _plan_name(plan: Plan) -> str:
    if len(_kinds(plan)) > 1:
        return "hybrid"
    return "pipeline" if len(plan.ranks) > 1 else plan.strategy


def _alone(kind: Alone, planning: Planning) -> Configuration | Skipped:
    title, why = _ALONE[kind]
    try:
        plan = planning.plan_alone(kind)
    except (DoesNotFitError, UsageError) as error:
        return Skipped(name=kind, title=title, reason=str(error))
    return Configuration(
        name=kind,
        title=title,
        role="baseline",
        why=why,
        plan=plan,
        command=planning.command(plan, BENCH_SERVER_ARGS),
    )


def _offloads(plan: Plan, spec: ModelSpec, planning: Planning) -> list[Configuration | Skipped]:
    """The GPUs of the plan without its CPU ranks, weights streamed from host memory."""
    overflow = gpu_overflow_bytes(plan)
    if overflow <= 0:
        return []
    num_gpus = sum(device != "cpu" for device in plan.devices)
    layer_bytes = max(layer.weight_bytes for layer in spec.layers)
    prefetch = prefetch_args(overflow // num_gpus, layer_bytes, len(spec.layers) // num_gpus)
    size = format_bytes(overflow)
    found: list[Configuration | Skipped] = []
    for name, title, args in (
        ("gpu+uva", f"GPU, {size} of weights read over PCIe", uva_args(overflow, num_gpus)),
        ("gpu+prefetch", f"GPU, {size} of weights prefetched", prefetch),
    ):
        if args is None:
            reason = f"{size} do not fit the GPU: no room for the layer being prefetched."
            found.append(Skipped(name=name, title=title, reason=reason))
            continue
        found.append(
            Configuration(
                name=name,
                title=title,
                role="baseline",
                why="vLLM's own way to run a model that the GPU cannot hold.",
                command=planning.offload_command(plan, (*args, *BENCH_SERVER_ARGS)),
            )
        )
    return found
