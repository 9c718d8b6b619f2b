"""Even stages where the objective is indifferent.

On neighbouring devices of one kind every split takes the same time, as all stages of a
batch add up. Of the equal splits the one is best whose fullest device is least full: it
leaves most room for KV cache, and batches in flight on several stages do not queue.
"""

from collections.abc import Sequence

from hetctl.planner.partition import Partition, Stage, StageOption, stage_memory


def balanced(partition: Partition, options: Sequence[StageOption]) -> Partition:
    """The same devices and the same time, with runs of like devices filled evenly."""
    stages = list(partition.stages)
    start = 0
    while start < len(stages):
        end = start + 1
        while end < len(stages) and _alike(
            options[stages[start].option], options[stages[end].option]
        ):
            end += 1
        if end - start > 1:
            stages[start:end] = _evened(stages[start:end], options)
        start = end
    return Partition(partition.time, tuple(stages))


def _alike(a: StageOption, b: StageOption) -> bool:
    return a.time == b.time and a.edge_time == b.edge_time


def _evened(stages: list[Stage], options: Sequence[StageOption]) -> list[Stage]:
    """Bisect the largest share of its limit that any of the stages takes."""
    best, low, high = stages, 0.0, 1.0
    for _ in range(30):  # to a billionth of a limit, far below one layer
        middle = (low + high) / 2
        filled = _filled(stages, options, middle)
        if filled is None:
            low = middle
        else:
            best, high = filled, middle
    return best


def _filled(
    stages: list[Stage], options: Sequence[StageOption], share: float
) -> list[Stage] | None:
    """Even cuts under ``share`` of every limit, or None where layers remain."""
    first, end, count = stages[0].first, stages[-1].end, len(stages)
    # Behind these cuts the later stages can hold the rest.
    earliest = [end] * count
    for k in range(count - 1, 0, -1):
        option = options[stages[k].option]
        cut = _shortest(option, earliest[k], first, share * option.limit)
        if cut is None:
            return None
        earliest[k - 1] = cut
    cuts = [first]
    for k, stage in enumerate(stages):
        option = options[stage.option]
        behind = count - k - 1  # each stage behind needs a layer
        latest = _longest(option, cuts[-1], end - behind, share * option.limit)
        even = first + round((end - first) * (k + 1) / count)
        cut = min(max(even, earliest[k], cuts[-1] + 1), latest)
        if cut <= cuts[-1] or cut < earliest[k]:
            return None
        cuts.append(cut)
    return [Stage(s.option, cuts[k], cuts[k + 1]) for k, s in enumerate(stages)]


def _longest(option: StageOption, first: int, end: int, room: float) -> int:
    """The last cut up to ``end`` such that the run from ``first`` takes at most ``room``."""
    while end > first and stage_memory(option, first, end) > room:
        end -= 1
    return end


def _shortest(option: StageOption, end: int, first: int, room: float) -> int | None:
    """The first cut after ``first`` such that the run up to ``end`` takes at most ``room``."""
    cut = end - 1
    if cut <= first or stage_memory(option, cut, end) > room:
        return None
    while cut - 1 > first and stage_memory(option, cut - 1, end) <= room:
        cut -= 1
    return cut
