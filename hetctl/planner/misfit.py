"""The error for a model that fits nowhere: the numbers that show it, and a way out."""

from hetctl.errors import DoesNotFitError
from hetctl.model.spec import ModelSpec
from hetctl.plan import Strategy
from hetctl.planner.context import contexts_to_try
from hetctl.planner.inventory import Inventory
from hetctl.planner.pipeline import assigned
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.request import PlanRequest
from hetctl.planner.strategy import candidates, choose
from hetctl.units import format_bytes
from hetctl.workload import Workload

_MIXED: tuple[Strategy, ...] = ("pipeline", "pipeline-uva", "pipeline-prefetch", "mixed-tp")
"""Strategies that need a CPU beside the GPUs."""


def misfit(
    inventory: Inventory, spec: ModelSpec, workload: Workload, request: PlanRequest
) -> DoesNotFitError:
    """Why no allowed split fits, per device, and the smallest change that would."""
    length = contexts_to_try(spec, workload)[-1]
    placer = Placer(spec, workload, length)
    if request.strategy != "auto":
        return _misfit_of_strategy(request.strategy, inventory, placer)
    remedy = _remedy(inventory, spec, workload, request, length)
    if isinstance(request.split, tuple):
        return _misfit_of_split(inventory, placer, request.split, remedy)
    kv = placer.memory(inventory.orders[0]).cache.bytes_on(0, len(spec.layers))
    rooms = ", ".join(
        f"{device.label} can give {format_bytes(device.memory_limit_bytes)}"
        for device in inventory.orders[0]
    )
    refusal = inventory.cpu_refusal
    no_cpu = f" (the CPU cannot help: {refusal})" if refusal else ""
    what = "one device" if request.split == "none" else "any allowed split"
    return DoesNotFitError(
        f"{spec.name} does not fit {what}: it needs {format_bytes(spec.weight_bytes)} for weights "
        f"and {format_bytes(kv)} for the KV cache of {workload.concurrency} x {length:,} tokens, "
        f"plus activations and framework on each device, but {rooms}{no_cpu}; {remedy}."
    )


def _misfit_of_strategy(
    strategy: Strategy, inventory: Inventory, placer: Placer
) -> DoesNotFitError:
    """Why the one strategy that was asked for cannot run."""
    found = [c for c in candidates(inventory, placer) if c.strategy == strategy]
    if found:
        why = found[-1].why_not
    elif strategy == "cpu-tp" and inventory.cpus:
        why = "it needs two CPU ranks at least (--cpu-ranks 2)"
    elif strategy in ("cpu", "cpu-tp") or (strategy in _MIXED and inventory.gpus):
        why = "no core may be used"
    elif not inventory.gpus:
        why = "there is no GPU that may be used"
    elif strategy in ("gpu-tp", "uva-tp", "prefetch-tp") and len(inventory.gpus) < 2:
        why = "it needs two GPUs at least"
    else:
        why = "the model fits the GPUs without it"
    return DoesNotFitError(
        f"--strategy {strategy} cannot run {placer.spec.name}: {why}; "
        f"--strategy auto takes the best that can."
    )


def _misfit_of_split(
    inventory: Inventory, placer: Placer, split: tuple[int, ...], remedy: str
) -> DoesNotFitError:
    tried = [
        assigned(placer, order, split, inventory.cpus_required, unlimited=True)
        for order in inventory.orders
    ]
    best = min((p for p in tried if p is not None), key=_overflow)
    problems = []
    for stage in best.stages:
        needed = stage.needed(best.memory)
        if needed > stage.device.memory_limit_bytes:
            problems.append(
                f"{stage.device.label} would need {format_bytes(needed)} of its "
                f"{format_bytes(stage.device.memory_limit_bytes)} for layers "
                f"{stage.first} to {stage.end - 1}"
            )
    text = ",".join(map(str, split))
    return DoesNotFitError(
        f"--split {text} does not fit: {' and '.join(problems)}; "
        f"move layers to another device, use --split auto, or {remedy}."
    )


def _overflow(placement: Placement) -> int:
    return sum(
        max(
            0,
            stage.needed(placement.memory) - stage.device.memory_limit_bytes,
        )
        for stage in placement.stages
    )


def _remedy(
    inventory: Inventory,
    spec: ModelSpec,
    workload: Workload,
    request: PlanRequest,
    length: int,
) -> str:
    """The longest context, else the most sequences, that would fit; else less model."""

    def fits(concurrency: int, tokens: int) -> bool:
        smaller = workload.model_copy(update={"concurrency": concurrency})
        placer = Placer(spec, smaller, tokens)
        found = candidates(inventory, placer)
        return choose(request, inventory, found, placer) is not None

    needed = workload.input_len + workload.output_len
    tokens = length // 2
    while tokens >= needed:
        if fits(workload.concurrency, tokens):
            return f"--max-model-len {tokens} would fit"
        tokens //= 2
    concurrency = workload.concurrency // 2
    while concurrency >= 1:
        if fits(concurrency, needed):
            return f"--concurrency {concurrency} --max-model-len {needed} would fit"
        concurrency //= 2
    return "use a smaller or quantised model, a smaller --dtype, or allow more devices or memory"
