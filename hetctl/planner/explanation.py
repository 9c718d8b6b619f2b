"""Sentences for people: why this plan."""

from collections.abc import Sequence

from hetctl.planner.bottleneck import bottleneck
from hetctl.planner.naming import name_of, names_of
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.provenance import estimated
from hetctl.planner.ranking import ABOUT_EQUAL, times
from hetctl.planner.request import PlanRequest
from hetctl.planner.strategy import Candidate
from hetctl.units import format_bytes, format_duration


def explain(
    chosen: Placement,
    others: Sequence[Candidate],
    placer: Placer,
    request: PlanRequest,
    context: str | None,
) -> tuple[str, ...]:
    """Why ``chosen`` runs, what its steps are spent on, and what to know about it."""
    sentences = [_why(chosen, others, placer, request), bottleneck(chosen)]
    if (batches := chosen.steps.batches) > 1:
        sentences.append(
            f"Requests are divided into {batches} batches, so that the stages work at the same "
            f"time."
        )
    missed = _missed_limits(chosen, placer)
    if missed:
        sentences.append(missed)
    if context:
        sentences.append(context)
    if guessed := estimated(chosen.rates_used):
        sentences.append(
            f"Speeds are estimates, as some rates of this machine were not measured "
            f"({', '.join(guessed)}); the choice may change once they are."
        )
    return (*sentences, *placer.spec.notes)


def context_sentence(concurrency: int, length: int, own: int, fullest: str) -> str | None:
    """Said when less is served than the model could take; never silently."""
    if length >= own:
        return None
    return (
        f"The context is {length:,} of the model's {own:,} tokens: that is what {fullest} has room "
        f"for with {concurrency} sequences at once (--max-model-len and --concurrency change it)."
    )


def _why(
    chosen: Placement, others: Sequence[Candidate], placer: Placer, request: PlanRequest
) -> str:
    if isinstance(request.split, tuple):
        given = ",".join(map(str, chosen.split))
        fit = f"The split {given} is the one that was asked for"
    else:
        fit = _why_fits(chosen, others, placer)
    if request.split == "none":
        return f"{fit}, and --split none keeps it on one device."
    if request.strategy != "auto":
        fit = f"As asked for (--strategy {request.strategy}): {fit}"
    rivals = [c.placement for c in others if c.placement is not None]
    best = min(rivals, key=lambda placement: placement.objective_s, default=None)
    if best is None:
        return f"{fit}."
    ratio = best.objective_s / chosen.objective_s
    if ratio <= 1 / ABOUT_EQUAL:
        return f"{fit}; {name_of(best)} would be {times(1 / ratio)} faster."
    if ratio < ABOUT_EQUAL:
        return f"{fit}; {name_of(best)} would be about as fast."
    return f"{fit}, and this is {times(ratio)} faster than {name_of(best)}, the next best."


def _why_fits(chosen: Placement, others: Sequence[Candidate], placer: Placer) -> str:
    if chosen.strategy not in ("gpu", "gpu-tp", "cpu", "cpu-tp"):
        return _why_not_gpus_alone(chosen, others, placer)
    if len(chosen.stages) == 1:
        stage = chosen.stages[0]
        needed, limit = stage.needed(chosen.memory), stage.device.memory_limit_bytes
        return (
            f"The model fits {stage.device.label} ({format_bytes(needed)} of {format_bytes(limit)})"
        )
    return f"The model fits {names_of(chosen.devices)} together"


def _why_not_gpus_alone(chosen: Placement, others: Sequence[Candidate], placer: Placer) -> str:
    does = _what_it_does(chosen, placer)
    gpu_only = [c for c in others if c.strategy == "gpu"]
    if any(c.placement is not None for c in gpu_only):
        return f"As asked for, {does}"
    last = gpu_only[-1]
    return f"The model does not fit {names_of(last.devices)} ({last.why_not}), so {does}"


def _what_it_does(chosen: Placement, placer: Placer) -> str:
    streamed = _what_is_streamed(chosen)
    if chosen.tensor_parallel > 1:
        divided = f"each layer is divided among {names_of(chosen.devices)}"
        return f"{divided}, and {streamed} of weights are {_how(chosen)}" if streamed else divided
    on_cpu = [stage for stage in chosen.stages if stage.device.kind == "cpu"]
    if not on_cpu:
        return f"{streamed} of its weights are {_how(chosen)}"
    count = sum(stage.end - stage.first for stage in on_cpu)
    where = names_of([stage.device for stage in on_cpu])
    layers = f"{count} of {len(placer.spec.layers)} layers run on {where}"
    return (
        f"{layers}, and {streamed} of the others' weights are {_how(chosen)}"
        if streamed
        else layers
    )


def _what_is_streamed(chosen: Placement) -> str:
    host = sum(stage.host_bytes for stage in chosen.stages)
    return format_bytes(host) if host else ""


def _how(chosen: Placement) -> str:
    if chosen.offload is not None and chosen.offload.backend == "uva":
        return "read from host memory over the link"
    return "copied from host memory just ahead of their use"


def _missed_limits(chosen: Placement, placer: Placer) -> str | None:
    """Said where nothing keeps the limits, and the closest is shown."""
    goal, found = placer.goal, chosen.prediction
    if not goal.limited or goal.met_by(found):
        return None
    return (
        f"Nothing keeps a {goal.limits()}: this comes closest, with a TTFT of "
        f"{format_duration(found.ttft_s)} and a TPOT of {format_duration(found.tpot_s)}."
    )
