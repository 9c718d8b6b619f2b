"""How long a context to serve."""

from dataclasses import replace

from hetctl.errors import UsageError
from hetctl.model.spec import ModelSpec
from hetctl.planner.device import Device
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import PlacedStage, Placement
from hetctl.workload import Workload

# A server is asked for at least this much where it fits, even if the workload's
# requests are shorter: it is vLLM's own fallback for models that state no length.
_LEAST_USEFUL = 2048


def contexts_to_try(spec: ModelSpec, workload: Workload) -> tuple[int, ...]:
    """Lengths to plan for, in order, until one fits.

    A length that was asked for is the only one. Otherwise a short one, so that room for
    contexts that nobody asked for does not push layers to a slower device;
    :func:`longest_context` then takes what is left.

    Raises:
        UsageError: the workload or the length exceeds what the model can.
    """
    needed = workload.input_len + workload.output_len
    asked = workload.max_model_len
    if asked is not None and asked > spec.max_model_len:
        raise UsageError(
            f"--max-model-len {asked} is more than the {spec.max_model_len} tokens of {spec.name}; "
            f"ask for at most that."
        )
    limit = asked or spec.max_model_len
    if needed > limit:
        owner = f"--max-model-len {asked}" if asked else f"the {limit} tokens of {spec.name}"
        raise UsageError(
            f"Requests of {workload.input_len} + {workload.output_len} tokens do not fit in "
            f"{owner}; lower --input-len or --output-len."
        )
    if asked is not None:
        return (asked,)
    useful = min(max(needed, _LEAST_USEFUL), own_length(spec, needed))
    return (useful, needed) if needed < useful else (useful,)


def own_length(spec: ModelSpec, needed: int) -> int:
    """The context that the model is served with when memory allows."""
    return max(needed, spec.default_model_len or spec.max_model_len)


def longest_context(placement: Placement, limit: int) -> int:
    """The most tokens per sequence, up to ``limit``, that every stage has memory for.

    A GPU may be filled to its limit. A CPU rank takes half of what its node has left at
    most: the KV cache is allocated at the start, and host memory has other users.
    """
    memory = placement.memory
    block = memory.serving.block_size
    rooms = [_room(placement, stage) for stage in placement.stages]

    def fits(length: int) -> bool:
        longer = MemoryModel.of(memory.spec, replace(memory.serving, max_model_len=length))
        return all(
            stage.needed(longer) <= room
            for stage, room in zip(placement.stages, rooms, strict=True)
        )

    if fits(limit):
        return limit
    low, high = memory.serving.max_model_len // block, limit // block + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * block) else (low, middle)
    return max(low * block, memory.serving.max_model_len)


def with_context(placement: Placement, length: int) -> Placement:
    """The same stages with KV caches for sequences of ``length`` tokens."""
    serving = replace(placement.memory.serving, max_model_len=length)
    return replace(placement, memory=MemoryModel.of(placement.memory.spec, serving))


def fullest_device(placement: Placement) -> Device:
    """The device that takes the largest share of its limit."""

    def share(stage: PlacedStage) -> float:
        return stage.needed(placement.memory) / stage.device.memory_limit_bytes

    return max(placement.stages, key=share).device


def _room(placement: Placement, stage: PlacedStage) -> int:
    limit = stage.device.memory_limit_bytes
    if stage.device.kind == "cuda":
        return limit
    return (stage.needed(placement.memory) + limit) // 2
