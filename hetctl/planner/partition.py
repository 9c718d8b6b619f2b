"""The fastest way to cut a chain of layers over devices in a given order, exactly.

A device takes a contiguous run of layers or none. The cost of a split is the sum over the
devices that it uses of a run's time, which is a difference of prefix sums, plus what a stage
costs for being first, last, both or neither. A run must fit its device's memory.

Dynamic programming over devices and cut points: the best way to place the first ``i``
layers with a device's run ending at ``i`` is ``time[i] + min over j (best[j] - time[j])`` for the
``j`` whose run fits. As a run's memory grows with its length, the feasible ``j`` form a window
that only moves forward, and the minimum over it is kept in a monotone queue: O(layers) per
device.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class StageOption:
    """A device as the partition sees it: times, memory, and a group to count it in."""

    time: Sequence[float]
    """Prefix sums over layers, one more than there are layers."""
    memory: Sequence[int]
    """Prefix sums over layers."""
    edge_time: Sequence[float]
    """Added once per stage: index ``first + 2 * last``."""
    edge_memory: Sequence[int]
    limit: int
    group: int = 0
    """0 or 1; ``at_least`` counts devices by it."""
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of layers ``[first, end)`` on the device at ``option`` in the given order."""

    option: int
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A feasible split and its total time."""

    time: float
    stages: tuple[Stage, ...]


def stage_time(option: StageOption, first: int, end: int) -> float:
    """Time of one stage, with what its place in the pipeline adds."""
    edge = (first == 0) + 2 * (end == len(option.time) - 1)
    return option.time[end] - option.time[first] + option.edge_time[edge]


def stage_memory(option: StageOption, first: int, end: int) -> int:
    """Memory of one stage, with what its place in the pipeline adds."""
    edge = (first == 0) + 2 * (end == len(option.memory) - 1)
    return option.memory[end] - option.memory[first] + option.edge_memory[edge]


# Runs (option, first, end), the last one first, so that equal beginnings are shared. Plain
# tuples: thousands are made, and making a Stage costs as much as the rest of a step.
_Chain: TypeAlias = "tuple[tuple[int, int, int], _Chain] | None"


@dataclass(slots=True)
class _Front:
    """The best chains so far, by the number of layers that they place."""

    time: list[float]
    chain: list[_Chain]


def best_partition(
    options: Sequence[StageOption], at_least: tuple[int, int] = (0, 0)
) -> Partition | None:
    """The split of least time that fits, or None.

    Args:
        options: Devices in pipeline order; all with prefix sums over the same layers.
        at_least: How many devices of group 0 and of group 1 must be used.
    """
    layers = len(options[0].time) - 1
    start = _Front([0.0] + [inf] * layers, [None] * (layers + 1))
    # Fronts by how many devices of each group were used, counted up to what is needed.
    fronts: dict[tuple[int, int], _Front] = {(0, 0): start}
    for index, option in enumerate(options):
        grown: dict[tuple[int, int], _Front] = {}
        if not option.mandatory:
            grown = {used: _Front(f.time[:], f.chain[:]) for used, f in fronts.items()}
        for used, front in fronts.items():
            key = _counted(used, option.group, at_least)
            _merge(grown, key, _extended(front, option, index))
        fronts = grown
    final = fronts.get(at_least)
    if final is None or final.time[layers] == inf:
        return None
    return Partition(final.time[layers], _stages(final.chain[layers]))


def best_assignment(options: Sequence[StageOption], counts: Sequence[int]) -> Partition | None:
    """The fastest choice of devices, in order, for stages of given numbers of layers."""
    bounds = [0]
    for count in counts:
        bounds.append(bounds[-1] + count)
    nothing: list[tuple[float, _Chain]] = [(inf, None)] * (len(counts) + 1)
    best = [(0.0, None), *nothing[1:]]
    for index, option in enumerate(options):
        grown = nothing[:] if option.mandatory else best[:]
        for stage, (time, chain) in enumerate(best[:-1]):
            first, end = bounds[stage], bounds[stage + 1]
            if time == inf or stage_memory(option, first, end) > option.limit:
                continue
            total = time + stage_time(option, first, end)
            if total < grown[stage + 1][0]:
                grown[stage + 1] = (total, ((index, first, end), chain))
        best = grown
    time, chain = best[-1]
    return None if time == inf else Partition(time, _stages(chain))


def _counted(used: tuple[int, int], group: int, at_least: tuple[int, int]) -> tuple[int, int]:
    a, b = used
    return (min(a + 1, at_least[0]), b) if group == 0 else (a, min(b + 1, at_least[1]))


def _merge(fronts: dict[tuple[int, int], _Front], key: tuple[int, int], new: _Front) -> None:
    old = fronts.get(key)
    if old is None:
        fronts[key] = new
        return
    for i, time in enumerate(new.time):
        # Strictly better only: among equals, the earlier devices stay.
        if time < old.time[i]:
            old.time[i], old.chain[i] = time, new.chain[i]


def _extended(front: _Front, option: StageOption, index: int) -> _Front:
    """``front`` with one more stage on ``option``, for every number of layers."""
    layers = len(option.time) - 1
    result = _Front([inf] * (layers + 1), [None] * (layers + 1))
    if front.time[0] == 0.0:
        for end in range(1, layers + 1):
            if stage_memory(option, 0, end) > option.limit:
                continue  # not break: the run to the end has another edge
            result.time[end] = stage_time(option, 0, end)
            result.chain[end] = (index, 0, end), None
    _extend_to_middle(front, option, index, result)
    _extend_to_end(front, option, index, result)
    return result


def _extend_to_middle(front: _Front, option: StageOption, index: int, result: _Front) -> None:
    """Runs that neither begin nor end the model."""
    time, memory, edge = option.time, option.memory, option.edge_time[0]
    room = option.limit - option.edge_memory[0]
    queue: deque[tuple[float, int]] = deque()
    for end in range(2, len(time) - 1):
        first = end - 1
        key = front.time[first] - time[first]
        if key < inf:
            while queue and queue[-1][0] > key:
                queue.pop()
            queue.append((key, first))
        least = memory[end] - room
        while queue and memory[queue[0][1]] < least:
            queue.popleft()
        if not queue:
            continue
        key, first = queue[0]
        total = key + time[end] + edge
        if total < result.time[end]:
            result.time[end] = total
            result.chain[end] = (index, first, end), front.chain[first]


def _extend_to_end(front: _Front, option: StageOption, index: int, result: _Front) -> None:
    """Runs up to the last layer that do not begin the model."""
    end = len(option.time) - 1
    room = option.limit - option.edge_memory[2]
    for first in range(end - 1, 0, -1):
        if option.memory[end] - option.memory[first] > room:
            break
        total = front.time[first] + stage_time(option, first, end)
        if total < result.time[end]:
            result.time[end] = total
            result.chain[end] = (index, first, end), front.chain[first]


def _stages(chain: _Chain) -> tuple[Stage, ...]:
    found: list[Stage] = []
    while chain is not None:
        run, chain = chain
        found.append(Stage(*run))
    return tuple(reversed(found))
