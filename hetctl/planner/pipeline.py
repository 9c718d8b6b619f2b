"""The best pipeline over some of the devices, or over all stages of a given split."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from hetctl.plan import Strategy
from hetctl.planner.balance import balanced
from hetctl.planner.device import Device
from hetctl.planner.engine import Run
from hetctl.planner.limits import Limits, best_under_limits
from hetctl.planner.memory import MemoryModel
from hetctl.planner.partition import (
    Partition,
    Stage,
    StageOption,
    best_assignment,
    best_partition,
    most_even,
)
from hetctl.planner.placement import Placement, Placer

# Layers x devices x orders that are worth a second: with more, the first orders are tried. They
# differ at the ends of the pipeline only, or where layers are unlike.
_MOST_STEPS = 400_000

# Layers x devices that are worth looking at again, with other chunks of prompts.
_MOST_STEPS_TWICE = 20_000

# Layers x devices that are worth a dozen looks, for the split whose slowest stage is the fastest.
_MOST_STEPS_EVEN = 400


def fastest(
    placer: Placer,
    orders: Sequence[Sequence[Device]],
    at_least: tuple[int, int] = (0, 0),
    cpus_required: bool = False,
) -> Placement | None:
    """The best split over some of the devices in one of the orders, or None if none fits.

    Args:
        orders: The same devices in the pipeline orders to consider.
        at_least: How many GPUs and how many CPU ranks must be used.
        cpus_required: Use every CPU rank.
    """
    again = len(orders[0]) * len(placer.spec.layers) <= _MOST_STEPS_TWICE
    return placer.best(lambda one, _: _fastest(one, orders, at_least, cpus_required), again)


def _fastest(
    placer: Placer,
    orders: Sequence[Sequence[Device]],
    at_least: tuple[int, int],
    cpus_required: bool,
) -> list[Placement]:
    """The best for one batch in flight, and others that may be better for several."""
    memory = placer.memory(orders[0])
    if least_needed(orders[0], memory) > sum(d.memory_limit_bytes for d in orders[0]):
        return []
    solved: list[tuple[Partition, Sequence[Device], list[StageOption]]] = []
    affordable = max(2, _MOST_STEPS // (len(orders[0]) * len(placer.spec.layers)))
    for devices in orders[:affordable]:
        options = stage_options(placer, devices, memory, cpus_required)
        partition = best_partition(options, at_least)
        if partition:
            solved.append((partition, devices, options))
    if not solved:
        return []
    partition, devices, options = min(solved, key=lambda one: one[0].time)
    placement = _placed(placer, devices, memory, balanced(partition, options))
    found = [placement]
    if _may_overlap(devices) and len(devices) * len(placer.spec.layers) <= _MOST_STEPS_EVEN:
        for partition, devices, options in solved:
            even = most_even(options, at_least, partition)
            for one in filter(None, (partition, balanced(partition, options), even)):
                found.append(_placed(placer, devices, memory, one))
    if placer.goal.met_by(placement.prediction):
        return found
    limits = Limits(placer, memory)
    for order in orders[:affordable]:
        options = stage_options(placer, order, memory, cpus_required)
        known = placement.key(placer.goal)
        kept = best_under_limits(limits, order, options, at_least, known)
        if kept is not None:
            placement = _placed(placer, order, memory, balanced(Partition(0.0, kept[1]), options))
            found.append(placement)
    return found


def _may_overlap(devices: Sequence[Device]) -> bool:
    """Whether stages could take about as long as one another: those of one kind."""
    gpus = sum(device.kind == "cuda" for device in devices)
    return gpus > 1 or len(devices) - gpus > 1


def on_one(placer: Placer, device: Device) -> Placement | None:
    """All layers on one device, or None if they do not fit."""
    memory = placer.memory([device])
    layers = len(placer.spec.layers)
    if memory.needed(device, 0, layers) > device.memory_limit_bytes:
        return None
    return _placed(placer, [device], memory, Partition(0.0, (Stage(0, 0, layers),)))


def assigned(
    placer: Placer,
    devices: Sequence[Device],
    split: Sequence[int],
    cpus_required: bool = False,
    unlimited: bool = False,
) -> Placement | None:
    """The best choice of ``devices`` for stages of given sizes, or None if none fits.

    ``unlimited`` ignores the devices' memory, to tell what a split would need.
    """
    return placer.best(lambda one, _: _assigned(one, devices, split, cpus_required, unlimited))


def _assigned(
    placer: Placer,
    devices: Sequence[Device],
    split: Sequence[int],
    cpus_required: bool,
    unlimited: bool,
) -> list[Placement]:
    memory = placer.memory(devices)
    options = stage_options(placer, devices, memory, cpus_required)
    if unlimited:
        options = [replace(option, limit=sys.maxsize) for option in options]
    partition = best_assignment(options, split)
    if partition is None:
        return []
    placement = _placed(placer, devices, memory, partition)
    if placer.goal.met_by(placement.prediction):
        return [placement]
    bounds, known = tuple(accumulate(split, initial=0)), placement.key(placer.goal)
    found = best_under_limits(Limits(placer, memory), devices, options, (0, 0), known, bounds)
    if found is None:
        return [placement]
    return [placement, _placed(placer, devices, memory, Partition(0.0, found[1]))]


def stage_options(
    placer: Placer, devices: Sequence[Device], memory: MemoryModel, cpus_required: bool
) -> list[StageOption]:
    """The devices as the partition sees them."""
    steps = placer.goal_steps(memory.serving)
    options = []
    for device in devices:
        cost = placer.cost(device, steps)
        options.append(
            StageOption(
                time=cost.objective_sums,
                memory=memory.layers[device.kind],
                edge_time=cost.objective_edges,
                edge_memory=memory.edges[device.kind],
                shared=memory.cache.shared,
                limit=device.memory_limit_bytes,
                group=0 if device.kind == "cuda" else 1,
                mandatory=cpus_required and device.kind == "cpu",
            )
        )
    return options


def least_needed(devices: Sequence[Device], memory: MemoryModel) -> int:
    """Bytes that the model takes on any of the devices: its layers and ends, and what every
    rank takes besides, once."""
    layers = min(map(memory.all_layers, {device.kind for device in devices}))
    return layers + min(memory.edges[device.kind][3] for device in devices)


def _placed(
    placer: Placer, devices: Sequence[Device], memory: MemoryModel, partition: Partition
) -> Placement:
    runs = [Run(devices[s.option], s.first, s.end) for s in partition.stages]
    kinds = {run.device.kind for run in runs}
    strategy: Strategy = "pipeline" if len(kinds) > 1 else ("gpu" if "cuda" in kinds else "cpu")
    return placer.place(strategy, runs, memory)
