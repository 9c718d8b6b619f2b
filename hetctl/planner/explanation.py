"""Sentences for people: why this plan, and why not the others."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from hetctl.plan import Alternative
from hetctl.planner.cost import decode_weight_bytes
from hetctl.planner.device import Device
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.request import PlanRequest
from hetctl.planner.strategy import Candidate
from hetctl.units import format_bytes, format_duration
from hetctl.workload import Workload

# A model of rates is not good to a few per cent: such a lead is not worth a number.
_ABOUT_EQUAL = 1.05

_MOST_STAGES_TO_SPELL = 3


def explain(
    chosen: Placement,
    others: Sequence[Candidate],
    placer: Placer,
    request: PlanRequest,
    context: str | None,
) -> tuple[str, ...]:
    """Why ``chosen`` runs, what its steps are spent on, and what to know about it."""
    sentences = [_why(chosen, others, placer, request)]
    slow = _where_the_time_goes(chosen, placer.workload)
    if slow:
        sentences.append(slow)
    if context:
        sentences.append(context)
    if chosen.prediction.rates == "estimate":
        sentences.append(
            "Speeds are estimates, as some rates of this machine were not measured; "
            "the split may change once they are."
        )
    return (*sentences, *placer.spec.notes)


def alternatives(
    chosen: Placement, others: Sequence[Candidate], placer: Placer
) -> tuple[Alternative, ...]:
    """Every strategy but the chosen one, with the number that decides."""
    return tuple(_alternative(chosen, candidate, placer) for candidate in others)


def same_placement(a: Placement | None, b: Placement) -> bool:
    """Whether two placements are the same stages."""
    return a is not None and _stages(a) == _stages(b)


def shortage(devices: Sequence[Device], placer: Placer) -> str:
    """``it needs 16.9 GiB and cuda:0 can give 10.8 GiB``: why nothing fits ``devices``."""
    memory = placer.memory(devices)
    if len(devices) == 1:
        device = devices[0]
        needed = memory.needed(device, 0, len(placer.spec.layers))
        limit = device.memory_limit_bytes
        return f"it needs {format_bytes(needed)} and {device.label} can give {format_bytes(limit)}"
    needed = _least_needed(devices, memory)
    limit = sum(device.memory_limit_bytes for device in devices)
    if needed <= limit:
        return "no cut into whole layers fits every device's memory"
    return (
        f"together they can give {format_bytes(limit)}, and the model needs at least "
        f"{format_bytes(needed)}"
    )


def _least_needed(devices: Sequence[Device], memory: MemoryModel) -> int:
    """Weights and KV cache, and what each device takes besides."""
    layers = memory.layers[-1]
    middles = [memory.edges(device)[0] for device in devices]
    ends = memory.edges(devices[0])
    return layers + sum(middles) + ends[3] - ends[0]


def _why(
    chosen: Placement, others: Sequence[Candidate], placer: Placer, request: PlanRequest
) -> str:
    rivals = [c.placement for c in others if c.placement is not None]
    best = min(rivals, key=lambda placement: placement.objective_s, default=None)
    if isinstance(request.split, tuple):
        given = ",".join(map(str, chosen.split))
        fit = f"The split {given} is the one that was asked for"
    else:
        fit = _why_fits(chosen, others, placer)
    if request.split == "none":
        return f"{fit}, and --split none keeps it on one device."
    if best is None:
        return f"{fit}."
    ratio = best.objective_s / chosen.objective_s
    if ratio < 1:
        return f"{fit}; {_name(best)} would be {_times(1 / ratio)} faster."
    if ratio < _ABOUT_EQUAL:
        return f"{fit}; {_name(best)} would be about as fast."
    return f"{fit}, and this is {_times(ratio)} faster than {_name(best)}, the next best."


def _why_fits(chosen: Placement, others: Sequence[Candidate], placer: Placer) -> str:
    devices = tuple(stage.device for stage in chosen.stages)
    if chosen.strategy == "pipeline":
        return _why_on_cpu_too(chosen, others, placer)
    if len(devices) == 1:
        stage = chosen.stages[0]
        needed = chosen.memory.needed(stage.device, stage.first, stage.end)
        limit = stage.device.memory_limit_bytes
        return (
            f"The model fits {stage.device.label} ({format_bytes(needed)} of {format_bytes(limit)})"
        )
    return f"The model fits {_names(devices)} together"


def _why_on_cpu_too(chosen: Placement, others: Sequence[Candidate], placer: Placer) -> str:
    on_cpu = [stage for stage in chosen.stages if stage.device.kind == "cpu"]
    count = sum(stage.end - stage.first for stage in on_cpu)
    where = _names(tuple(stage.device for stage in on_cpu))
    runs = f"{count} of {len(placer.spec.layers)} layers run on {where}"
    gpu_only = [c for c in others if c.strategy == "gpu"]
    if any(c.placement is not None for c in gpu_only):
        return f"As asked for, {runs}"
    gpus = gpu_only[-1].devices
    return f"The model does not fit {_names(gpus)} ({shortage(gpus, placer)}), so {runs}"


def _where_the_time_goes(chosen: Placement, workload: Workload) -> str | None:
    """What CPU ranks spend a decode step on."""
    on_cpu = [stage for stage in chosen.stages if stage.device.kind == "cpu"]
    if not on_cpu:
        return None
    step = sum(stage.decode_s for stage in chosen.stages)
    spent = sum(stage.decode_s for stage in on_cpu)
    of_step = f"{format_duration(spent)} of the {format_duration(step)} of each decode step"
    if sum(stage.read_s for stage in on_cpu) < sum(stage.compute_s for stage in on_cpu):
        return f"Computing the layers on the CPU takes {of_step}."
    layers = chosen.memory.spec.layers
    read = sum(
        decode_weight_bytes(layer, workload.concurrency)
        for stage in on_cpu
        for layer in layers[stage.first : stage.end]
    )
    return f"Reading {format_bytes(read)} of weights on the CPU takes {of_step}."


def _alternative(chosen: Placement, candidate: Candidate, placer: Placer) -> Alternative:
    placement = candidate.placement
    if placement is None:
        devices = candidate.devices
        if candidate.alone:
            devices = (max(devices, key=lambda device: device.memory_limit_bytes),)
        short = shortage(devices, placer)
        return Alternative(
            strategy=candidate.strategy,
            feasible=False,
            reason=f"{_capital(candidate.name)}: does not fit, as {short}.",
            devices=tuple(device.name for device in devices),
        )
    ratio = placement.objective_s / chosen.objective_s
    if 1 / _ABOUT_EQUAL < ratio < _ABOUT_EQUAL:
        compared = "about as fast"
    else:
        compared = f"{_times(ratio)} slower" if ratio >= 1 else f"{_times(1 / ratio)} faster"
    return Alternative(
        strategy=candidate.strategy,
        feasible=True,
        reason=(
            f"{_capital(candidate.name)}: {compared}, "
            f"{format_duration(placement.objective_s)} per output token against "
            f"{format_duration(chosen.objective_s)} (prefill included)."
        ),
        split=placement.split,
        devices=tuple(stage.device.name for stage in placement.stages),
        prediction=placement.prediction,
    )


def context_sentence(concurrency: int, length: int, own: int, fullest: str) -> str | None:
    """Said when less is served than the model could take; never silently."""
    if length >= own:
        return None
    return (
        f"The context is {length:,} of the model's {own:,} tokens: that is what {fullest} has room "
        f"for with {concurrency} sequences at once (--max-model-len and --concurrency change it)."
    )


def _stages(placement: Placement) -> list[tuple[str, int | None, int, int]]:
    return [(s.device.name, s.device.numa_node, s.first, s.end) for s in placement.stages]


def _name(placement: Placement) -> str:
    devices = tuple(stage.device for stage in placement.stages)
    if len(devices) == 1:
        return f"{devices[0].label} alone"
    if len(devices) > _MOST_STAGES_TO_SPELL:
        return f"a pipeline over {_names(devices)}"
    split = "+".join(map(str, placement.split))
    return f"{split} layers on {_names(devices)}"


def _names(devices: Sequence[Device]) -> str:
    """``cpu (node 0) + cuda:0-6``: runs of like devices together."""
    names = []
    for kind, group in groupby(devices, key=lambda device: device.kind):
        members = list(group)
        if len(members) == 1:
            names.append(members[0].label)
        elif kind == "cuda":
            names.append("cuda:" + _numbers(int(d.name.removeprefix("cuda:")) for d in members))
        else:
            nodes = _numbers({d.numa_node for d in members if d.numa_node is not None})
            names.append(f"{len(members)} CPU ranks (node {nodes})")
    return " + ".join(names)


def _numbers(found: Iterable[int]) -> str:
    numbers = sorted(found)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))


def _times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 10 else f"{ratio:.0f}x"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
