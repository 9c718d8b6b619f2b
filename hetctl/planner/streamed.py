"""GPUs that hold a part of the model and have the rest streamed from host memory."""

from collections.abc import Sequence
from itertools import pairwise

from hetctl.planner.device import Device
from hetctl.planner.engine import Run
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.streaming import MARGIN_BYTES, prefetch_bytes, prefetch_groups, uva_budget


def with_uva(placer: Placer, gpus: Sequence[Device], host_bytes: int) -> Placement | None:
    """Some of the weights read in place from host memory, as few as there must be.

    None where GPUs or host memory cannot hold the rest. All GPUs get the same budget, as
    vLLM has one option for all.
    """
    memory = placer.memory(gpus)
    runs = even_runs(gpus, 0, len(placer.spec.layers))
    excess = max(overflow(run, memory) for run in runs)
    if excess <= 0 or any(overflow(run, memory) > weights_of(run, memory) for run in runs):
        return None
    placement = placer.place("uva", runs, memory, uva_budget(excess))
    return placement if _pinned(placement) <= host_bytes else None


def with_prefetch(placer: Placer, gpus: Sequence[Device], host_bytes: int) -> Placement | None:
    """Some of the layers copied ahead of their use, in the best grouping there is.

    None where GPUs or host memory cannot hold the rest. All GPUs get the same grouping.
    """
    memory = placer.memory(gpus)
    runs = even_runs(gpus, 0, len(placer.spec.layers))
    fullest = max(runs, key=lambda run: overflow(run, memory))
    relief = overflow(fullest, memory)
    if relief <= 0:
        return None
    fastest = max(gpu.rates.host_copy_bytes_per_s for gpu in gpus)
    layers = placer.spec.layers
    best: Placement | None = None
    for _, offload in prefetch_groups(layers[fullest.first : fullest.end], relief):
        streamed = sum(prefetch_bytes(layers[r.first : r.end], offload)[0] for r in runs)
        copies = streamed / fastest
        if best and placer.goal.met_by(best.prediction) and copies > best.objective_s:
            continue
        placement = placer.place("prefetch", runs, memory, offload)
        fits = all(s.needed(memory) <= s.device.memory_limit_bytes for s in placement.stages)
        if not fits or _pinned(placement) > host_bytes:
            continue
        if best is None or placement.key(placer.goal) < best.key(placer.goal):
            best = placement
    return best


def least_resident_bytes(gpu: Device, memory: MemoryModel, strategy: str) -> int:
    """What a GPU must hold even when all weights of the layers are streamed to it."""
    layers = len(memory.spec.layers)
    weights = memory.weights[layers]
    sizes = [layer.weight_bytes for layer in memory.spec.layers]
    buffer = max(sizes) if strategy == "prefetch" else 0
    return memory.needed(gpu, 0, layers) - weights + buffer + MARGIN_BYTES


def even_runs(gpus: Sequence[Device], first: int, end: int) -> list[Run]:
    """Stages of equal numbers of layers: all GPUs stream the same amount."""
    layers = end - first
    used = gpus[:layers]
    cuts = [first + round(layers * i / len(used)) for i in range(len(used) + 1)]
    return [Run(gpu, *cut) for gpu, cut in zip(used, pairwise(cuts), strict=True)]


def overflow(run: Run, memory: MemoryModel) -> int:
    """Bytes that the run's GPU has no room for, margin included."""
    needed = memory.needed(run.device, run.first, run.end)
    return needed + MARGIN_BYTES - run.device.memory_limit_bytes


def weights_of(run: Run, memory: MemoryModel) -> int:
    """Bytes of the run's layers, all that can be streamed."""
    return memory.weights[run.end] - memory.weights[run.first]


def _pinned(placement: Placement) -> int:
    return sum(stage.host_bytes for stage in placement.stages)
