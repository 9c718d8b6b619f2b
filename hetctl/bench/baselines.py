"""Which configurations a comparison consists of: the plan, and what it must beat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError, UsageError
from hetctl.launch.command import LaunchCommand
from hetctl.machine import Machine
from hetctl.plan import Plan

Baseline = Literal["gpu", "cpu", "uva", "prefetch", "pipeline"]

BENCH_SERVER_ARGS = ("--no-enable-prefix-caching",)
"""Given to every server: the warm-ups repeat the first prompt, which the prefix cache would
then answer. Other random prompts share nothing, so no configuration loses by it."""

_NAMES: dict[Baseline, str] = {
    "gpu": "gpu",
    "cpu": "cpu",
    "uva": "gpu+uva",
    "prefetch": "gpu+prefetch",
    "pipeline": "hybrid",
}
_OFFLOADING = "vLLM's own way to run a model that the GPU cannot hold."
_TITLES: dict[Baseline, tuple[str, str]] = {
    "gpu": ("GPU alone", "What vLLM does by itself when the model fits one GPU."),
    "cpu": ("One CPU rank", "What vLLM does by itself on the cores of one NUMA node."),
    "uva": ("GPU, weights read over PCIe", _OFFLOADING),
    "prefetch": ("GPU, weights prefetched", _OFFLOADING),
    "pipeline": ("GPU and CPU in a pipeline", "The CPU computes the layers that do not fit."),
}


@dataclass(frozen=True)
class Planning:
    """What the comparison needs of the planner and the launcher."""

    plan_baseline: Callable[[Baseline], Plan]
    """Plans one rank of a kind (gpu, cpu) or a strategy, and nothing else; raises
    DoesNotFitError or UsageError with the reason when it cannot be."""
    command: Callable[[Plan, tuple[str, ...]], LaunchCommand]
    """The launch of a plan, with arguments added to ``vllm serve``."""


def plan_configuration(plan: Plan, planning: Planning) -> Configuration:
    """The plan under test."""
    devices = " + ".join(plan.devices)
    layers = "+".join(map(str, plan.split))
    return Configuration(
        name=_plan_name(plan),
        title=_title(plan),
        role="plan",
        why=f"What hetctl plans here ({plan.strategy}): {layers} layers on {devices}.",
        plan=plan,
        command=planning.command(plan, BENCH_SERVER_ARGS),
    )


def _title(plan: Plan) -> str:
    devices = " + ".join(plan.devices)
    if plan.offload is not None:
        streaming = _TITLES[plan.offload.backend][0]
        return f"Pipeline over {devices}; {streaming}" if "cpu" in plan.devices else streaming
    if plan.tensor_parallel_size > 1:
        return f"Tensor parallel over {devices}"
    return f"Pipeline over {devices}" if len(plan.ranks) > 1 else f"{devices} alone"


def baselines(plan: Plan, machine: Machine, planning: Planning) -> list[Configuration | Skipped]:
    """What the plan must beat: what can run here, and why the rest cannot."""
    if not machine.gpus:
        return [_baseline("cpu", planning)] if _plan_name(plan) != "cpu" else []
    own = _plan_name(plan)
    found = [_baseline(kind, planning) for kind in ("gpu", "cpu") if own != kind]
    fits = own == "gpu" or any(
        isinstance(one, Configuration) and one.name == "gpu" for one in found
    )
    # A model that a GPU holds needs neither streaming nor the CPU.
    if not fits and "cuda" in _kinds(plan):
        kinds: tuple[Baseline, ...] = ("pipeline", "uva", "prefetch")
        found += [_baseline(kind, planning) for kind in kinds if own != _NAMES[kind]]
    return found


def _kinds(plan: Plan) -> set[str]:
    """``cuda``, ``cpu`` or both."""
    return {device.partition(":")[0] for device in plan.devices}


def _plan_name(plan: Plan) -> str:
    if len(_kinds(plan)) > 1:
        return "hybrid" if plan.strategy == "pipeline" else plan.strategy
    if plan.offload is not None:
        return _NAMES[plan.offload.backend]
    if plan.tensor_parallel_size > 1:
        return plan.strategy
    return "pipeline" if len(plan.ranks) > 1 else plan.strategy


def _baseline(kind: Baseline, planning: Planning) -> Configuration | Skipped:
    title, why = _TITLES[kind]
    try:
        plan = planning.plan_baseline(kind)
    except (DoesNotFitError, UsageError) as error:
        return Skipped(name=_NAMES[kind], title=title, reason=str(error))
    return Configuration(
        name=_NAMES[kind],
        title=title,
        role="baseline",
        why=why,
        plan=plan,
        command=planning.command(plan, BENCH_SERVER_ARGS),
    )
