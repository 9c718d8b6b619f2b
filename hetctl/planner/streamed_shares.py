"""GPUs that divide every layer, and have a part of their shares streamed from host memory.

All links work at the same time, each for its GPU's share, where a pipeline's GPUs take turns: so
the links add up, as far as the host's memory can be read (:mod:`hetctl.planner.host_memory`).
"""

from collections.abc import Sequence
from typing import Literal

from hetctl.plan import Offload, Strategy
from hetctl.planner.device import Device
from hetctl.planner.engine import Run
from hetctl.planner.host_memory import streaming_at_once
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.streamed import overflow
from hetctl.planner.streaming import prefetch_groups, streamed_bytes, uva_budget
from hetctl.planner.tensor_parallel import all_reduce_of, share_of

Backend = Literal["uva", "prefetch"]
STRATEGY_OF: dict[Backend, Strategy] = {"uva": "uva-tp", "prefetch": "prefetch-tp"}


def share_memory(placer: Placer, gpus: Sequence[Device]) -> MemoryModel:
    """Of one GPU's share."""
    spec = share_of(placer.spec, len(gpus))
    return MemoryModel.of(spec, placer.serving(gpus, stages=1))


def streamed_shares(
    placer: Placer, gpus: Sequence[Device], host_bytes: int, backend: Backend
) -> Placement | None:
    """The best way to stream where ``gpus`` divide every layer.

    None where there is nothing to stream, or GPUs or host memory cannot hold what they must. All
    GPUs stream the same amount, as vLLM has one option for all.
    """
    memory = share_memory(placer, gpus)
    fullest = min(gpus, key=lambda gpu: gpu.memory_limit_bytes)
    relief = overflow(Run(fullest, 0, len(memory.spec.layers)), memory)
    if not 0 < relief <= memory.weights[-1]:
        return None
    together = streaming_at_once(gpus, relief)
    cost = placer.share_cost(memory, all_reduce_of(together))
    best: Placement | None = None
    for offload in _offloads(memory, relief, backend):
        pinned, buffer = streamed_bytes(memory.spec.layers, offload)
        if pinned - buffer < relief or pinned * len(gpus) > host_bytes:
            continue
        placement = placer.place_shares(STRATEGY_OF[backend], together, memory, cost, offload)
        if best is None or placement.key(placer.goal) < best.key(placer.goal):
            best = placement
    return best


def _offloads(memory: MemoryModel, relief: int, backend: Backend) -> list[Offload]:
    if backend == "uva":
        return [uva_budget(relief)]
    return [offload for _, offload in prefetch_groups(memory.spec.layers, relief)]
