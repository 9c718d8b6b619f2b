"""Which configurations a comparison consists of: the plan, and what it must beat."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from hetctl.bench.results import Configuration, Skipped
from hetctl.errors import DoesNotFitError, UsageError
from hetctl.launch.command import LaunchCommand
from hetctl.plan import Plan

Baseline = Literal["gpu", "gpu+uva", "gpu+prefetch", "cpu", "pipeline", "tensor", "auto"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)

_OFFLOADING = "vLLM's own way to run a model that the GPU cannot hold."
_TITLES: dict[Baseline, tuple[str, str]] = {
    "gpu": ("GPU alone", "What vLLM does by itself when the model fits one GPU."),
    "gpu+uva": ("GPU, weights read over PCIe", _OFFLOADING),
    "gpu+prefetch": ("GPU, weights prefetched", _OFFLOADING),
    "cpu": ("One CPU rank", "What vLLM does by itself on the cores of one NUMA node."),
    "pipeline": ("GPU and CPU in a pipeline", "The CPU computes the layers that do not fit."),
    "tensor": ("Tensor parallel", "Each layer is divided among the devices."),
    "auto": ("What hetctl would choose", "The best of all strategies, as hetctl predicts."),
}


@dataclass(frozen=True)
class Planning:
    """What the comparison needs of the planner and the launcher."""

    plan_baseline: Callable[[Baseline], Plan]
    """Plans a baseline, and nothing else; raises DoesNotFitError or UsageError with the reason
    when it cannot be."""
    command: Callable[[Plan], LaunchCommand]
    """The launch of a plan."""


def parse_baselines(text: str) -> tuple[Baseline, ...]:
    """Names of baselines, such as ``gpu+uva,cpu``, in the order given.

    Raises:
        UsageError: one is not a baseline.
    """
    found: list[Baseline] = []
    for name in text.split(","):
        known = next((one for one in BASELINES if one == name.strip()), None)
        if known is None:
            raise UsageError(
                f"--baseline does not know {name.strip()!r}; take some of {', '.join(BASELINES)}."
            )
        found.append(known)
    return tuple(dict.fromkeys(found))


def plan_configuration(plan: Plan, planning: Planning) -> Configuration:
    """The plan under test."""
    return Configuration(
        name=_plan_name(plan),
        title=_title(plan),
        role="plan",
        why=f"What hetctl plans here ({plan.strategy}): {_placement(plan)}.",
        plan=plan,
        command=planning.command(plan),
    )


def baselines(
    plan: Plan, planning: Planning, kinds: Iterable[Baseline] = BASELINES
) -> list[Configuration | Skipped]:
    """What the plan must beat: what can run here, and why the rest cannot.

    What would run the same as the plan under test or an earlier baseline is not run twice.
    """
    found: list[Configuration | Skipped] = []
    own = _plan_name(plan)
    running = {own: plan}
    for kind in kinds:
        entry = _baseline(kind, planning, running, own)
        found.append(entry)
        if isinstance(entry, Configuration) and entry.plan is not None:
            running[entry.name] = entry.plan
    return found


def _baseline(
    kind: Baseline, planning: Planning, running: dict[str, Plan], own: str
) -> Configuration | Skipped:
    title, why = _TITLES[kind]
    try:
        plan = planning.plan_baseline(kind)
    except (DoesNotFitError, UsageError) as error:
        return Skipped(name=kind, title=title, reason=str(error))
    for name, other in running.items():
        if _runs_alike(plan, other):
            same = "the plan under test" if name == own else f"the same as {name}"
            reason = f"It is {same}: {_placement(plan)}."
            return Skipped(name=kind, title=title, reason=reason)
    if kind in running:
        reason = f"The plan under test is one already: {_placement(running[kind])}."
        return Skipped(name=kind, title=title, reason=reason)
    return Configuration(
        name=kind,
        title=title,
        role="baseline",
        why=why,
        plan=plan,
        command=planning.command(plan),
    )


def _runs_alike(one: Plan, other: Plan) -> bool:
    return (one.devices, one.split, one.tensor_parallel_size, one.offload) == (
        other.devices,
        other.split,
        other.tensor_parallel_size,
        other.offload,
    )


def _placement(plan: Plan) -> str:
    """``8+24 layers on cpu + cuda:0``."""
    return f"{'+'.join(map(str, plan.split))} layers on {' + '.join(plan.devices)}"


def _title(plan: Plan) -> str:
    devices = " + ".join(plan.devices)
    if plan.tensor_parallel_size > 1:
        return f"Tensor parallel over {devices}"
    streamed = {"uva": "weights read over PCIe", "prefetch": "weights prefetched"}
    how = f", {streamed[plan.offload.backend]}" if plan.offload else ""
    if len(_kinds(plan)) > 1 or (len(plan.ranks) > 1 and plan.offload is None):
        return f"Pipeline over {devices}{how}"
    return f"GPU{how}" if plan.offload else f"{devices} alone"


def _kinds(plan: Plan) -> set[str]:
    """``cuda``, ``cpu`` or both."""
    return {device.partition(":")[0] for device in plan.devices}


def _plan_name(plan: Plan) -> str:
    """As the baseline of the same kind would be called."""
    streamed = f"+{plan.offload.backend}" if plan.offload else ""
    if plan.tensor_parallel_size > 1:
        return f"tensor{streamed}"
    if len(_kinds(plan)) > 1:
        return f"pipeline{streamed}"
    if plan.offload is not None:
        return f"gpu{streamed}"
    return "pipeline" if len(plan.ranks) > 1 else plan.strategy
