"""The fastest way to cut a chain of layers over devices in a given order, exactly.

A device takes a contiguous run of layers or none. The cost of a split is the sum over the
devices that it uses of a run's time, which is a difference of prefix sums, plus what a stage
costs for being first, last, both or neither. A run must fit its device's memory.

Dynamic programming over devices and cut points: the best way to place the first ``i``
layers with a device's run ending at ``i`` is ``time[i] + min over j (best[j] - time[j])`` for the
``j`` whose run fits. As a run's memory grows with its length (and need not be a sum), the feasible
``j`` form a window that only moves forward, and the minimum over it is kept in a monotone queue:
O(layers) per device.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TypeAlias

from hetctl.planner.shared_pages import SharedPages


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
    shared: SharedPages | None = None
    """Memory of a run beyond the sum over its layers."""
    most_time: float = inf
    """That a stage may take."""


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
    taken = option.memory[end] - option.memory[first] + option.edge_memory[edge]
    return taken + option.shared.taken(first, end) if option.shared else taken


def fits(option: StageOption, first: int, end: int) -> bool:
    """Whether a stage keeps to its device's memory and time. A longer one keeps to no more."""
    if stage_memory(option, first, end) > option.limit:
        return False
    return option.most_time == inf or stage_time(option, first, end) <= option.most_time


# How many devices of group 0 and of group 1 were used, counted up to what is needed.
Used: TypeAlias = "tuple[int, int]"

# For each number of layers placed: where the last device's run begins and what was used before
# it, or None where the device is left out.
_Back: TypeAlias = "list[tuple[int, Used] | None]"


def best_partition(
    options: Sequence[StageOption], at_least: tuple[int, int] = (0, 0)
) -> Partition | None:
    """The split of least time that fits, or None.

    Args:
        options: Devices in pipeline order; all with prefix sums over the same layers.
        at_least: How many devices of group 0 and of group 1 must be used.
    """
    best = _solve(options, (0, 0))
    if best is None or _counts(best, options, at_least) == at_least:
        # Nobody can do better than without the constraint.
        return best
    return _solve(options, at_least)


@dataclass(frozen=True, slots=True)
class Beginnings:
    """The best ways to place the first layers of a model, by how many they are."""

    time: list[float]
    """Infinite where there is none. The entry of all layers is not meant: another stage follows."""
    _backs: "list[dict[Used, _Back]]"

    def stages(self, end: int) -> tuple[Stage, ...]:
        """The stages that hold the layers before ``end``."""
        return _traced(self._backs, (0, 0), end)


def beginnings(options: Sequence[StageOption], layers: int) -> Beginnings:
    """Solve for all beginnings of a model of ``layers`` at once; ``options`` may be empty."""
    fronts, backs = _fronts(options, (0, 0), layers)
    return Beginnings(fronts.get((0, 0), [inf] * (layers + 1)), backs)


def times_by_devices(options: Sequence[StageOption], layers: int) -> list[list[float]]:
    """:attr:`Beginnings.time` on the first none, one, two and so on of ``options``."""
    found = [[0.0] + [inf] * layers]
    for option in options:
        front = found[-1]
        best = [inf] * (layers + 1) if option.mandatory else front[:]
        _extend(front, option, best, [None] * (layers + 1), (0, 0))
        found.append(best)
    return found


def mirrored(option: StageOption) -> StageOption:
    """The device in a model whose last layer is the first: ends become beginnings."""
    time, memory = option.time, option.memory
    return replace(
        option,
        time=[time[-1] - spent for spent in reversed(time)],
        memory=[memory[-1] - taken for taken in reversed(memory)],
        edge_time=[option.edge_time[i] for i in (0, 2, 1, 3)],
        edge_memory=[option.edge_memory[i] for i in (0, 2, 1, 3)],
        shared=option.shared.mirrored() if option.shared else None,
    )


def most_even(options: Sequence[StageOption], at_least: Used, start: Partition) -> Partition | None:
    """The split whose slowest stage is the fastest that there is, to a thousandth, and of such the
    fastest.

    None where that is ``start``.

    Args:
        start: A split that fits.
    """

    def slowest(partition: Partition) -> float:
        return max(stage_time(options[s.option], s.first, s.end) for s in partition.stages)

    best, low, high = start, 0.0, slowest(start)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        found = best_partition([replace(o, most_time=middle) for o in options], at_least)
        if found is None:
            low = middle
        else:
            best, high = found, slowest(found)
    return None if best is start else best


def _solve(options: Sequence[StageOption], at_least: Used) -> Partition | None:
    layers = len(options[0].time) - 1
    fronts, backs = _fronts(options, at_least, layers)
    final = fronts.get(at_least)
    if final is None or final[layers] == inf:
        return None
    return Partition(final[layers], _traced(backs, at_least, layers))


def _fronts(
    options: Sequence[StageOption], at_least: Used, layers: int
) -> tuple[dict[Used, list[float]], list[dict[Used, _Back]]]:
    # The least time by the number of layers placed, for each count of devices used.
    fronts: dict[Used, list[float]] = {(0, 0): [0.0] + [inf] * layers}
    backs: list[dict[Used, _Back]] = []
    for option in options:
        grown: dict[Used, list[float]] = {}
        if not option.mandatory:
            grown = {used: time[:] for used, time in fronts.items()}
        back: dict[Used, _Back] = {used: [None] * (layers + 1) for used in grown}
        for used, time in fronts.items():
            key = counted(used, option.group, at_least)
            if key not in grown:
                grown[key], back[key] = [inf] * (layers + 1), [None] * (layers + 1)
            _extend(time, option, grown[key], back[key], used)
        fronts = grown
        backs.append(back)
    return fronts, backs


def _traced(backs: list[dict[Used, _Back]], used: Used, end: int) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    for index in range(len(backs) - 1, -1, -1):
        step = backs[index][used][end]
        if step is not None:
            first, used = step
            stages.append(Stage(index, first, end))
            end = first
    return tuple(reversed(stages))


def _counts(found: Partition, options: Sequence[StageOption], at_least: Used) -> Used:
    used = (0, 0)
    for stage in found.stages:
        used = counted(used, options[stage.option].group, at_least)
    return used


def best_assignment(options: Sequence[StageOption], counts: Sequence[int]) -> Partition | None:
    """The fastest choice of devices, in order, for stages of given numbers of layers."""
    bounds = [0]
    for count in counts:
        bounds.append(bounds[-1] + count)
    nothing: list[tuple[float, tuple[Stage, ...]]] = [(inf, ())] * (len(counts) + 1)
    best = [(0.0, ()), *nothing[1:]]
    for index, option in enumerate(options):
        grown = nothing[:] if option.mandatory else best[:]
        for stage, (time, stages) in enumerate(best[:-1]):
            first, end = bounds[stage], bounds[stage + 1]
            if time == inf or not fits(option, first, end):
                continue
            total = time + stage_time(option, first, end)
            if total < grown[stage + 1][0]:
                grown[stage + 1] = (total, (*stages, Stage(index, first, end)))
        best = grown
    time, stages = best[-1]
    return None if time == inf else Partition(time, stages)


def counted(used: Used, group: int, at_least: Used) -> Used:
    """``used`` and one more device of ``group``."""
    a, b = used
    return (min(a + 1, at_least[0]), b) if group == 0 else (a, min(b + 1, at_least[1]))


def _extend(
    front: list[float], option: StageOption, best: list[float], back: _Back, used: Used
) -> None:
    """Improve ``best`` by one more stage on ``option`` behind what ``front`` placed.

    Only by what is strictly better: among equals, the earlier devices stay.
    """
    if front[0] == 0.0:
        _extend_from_start(option, best, back, used)
    _extend_to_middle(front, option, best, back, used)
    _extend_to_end(front, option, best, back, used)


def _extend_from_start(option: StageOption, best: list[float], back: _Back, used: Used) -> None:
    """Runs that begin the model."""
    layers = len(option.time) - 1
    time, start = option.time, option.edge_time[1] - option.time[0]
    for end in range(1, _longest_start(option) + 1):
        total = time[end] + start
        if total < best[end]:
            best[end], back[end] = total, (0, used)
    if fits(option, 0, layers):
        total = stage_time(option, 0, layers)
        if total < best[layers]:
            best[layers], back[layers] = total, (0, used)


def _longest_start(option: StageOption) -> int:
    """Layers of the longest run from the first one, all but the last at most, that fits."""
    layers = len(option.memory) - 1
    return bisect_left(range(1, layers), True, key=lambda end: not fits(option, 0, end))


def _extend_to_middle(
    front: list[float], option: StageOption, best: list[float], back: _Back, used: Used
) -> None:
    """Runs that neither begin nor end the model."""
    layers = len(option.time) - 1
    # Where the layers before can end; others need no look.
    low, high = 1, layers - 1
    while low <= high and front[low] == inf:
        low += 1
    while high >= low and front[high] == inf:
        high -= 1
    time, memory, edge = option.time, option.memory, option.edge_time[0]
    room = option.limit - option.edge_memory[0]
    sums_only = option.shared is None and option.most_time == inf
    # Firsts whose run fits, and their keys, which rise.
    queue: deque[tuple[float, int]] = deque()
    for end in range(low + 1, layers):
        if end <= high + 1:
            key = front[end - 1] - time[end - 1]
            while queue and queue[-1][0] > key:
                queue.pop()
            queue.append((key, end - 1))
        if sums_only:
            least = memory[end] - room
            while queue and memory[queue[0][1]] < least:
                queue.popleft()
        else:
            while queue and not fits(option, queue[0][1], end):
                queue.popleft()
        if queue:
            key, first = queue[0]
            total = key + time[end] + edge
            if total < best[end]:
                best[end], back[end] = total, (first, used)
        elif end > high:
            break


def _extend_to_end(
    front: list[float], option: StageOption, best: list[float], back: _Back, used: Used
) -> None:
    """Runs up to the last layer that do not begin the model."""
    end = len(option.time) - 1
    for first in range(end - 1, _earliest_to_end(option) - 1, -1):
        total = front[first] + stage_time(option, first, end)
        if total < best[end]:
            best[end], back[end] = total, (first, used)


def _earliest_to_end(option: StageOption) -> int:
    """Where the longest run to the last layer begins that fits, without the first layer; the
    number of layers where none does."""
    layers = len(option.memory) - 1
    return 1 + bisect_left(range(1, layers), True, key=lambda first: fits(option, first, layers))
