"""A pipeline of GPU and CPU stages whose GPUs stream a part of their own layers.

Two numbers are searched together: how many layers the CPU ranks compute, and how much of the rest
the GPUs hold. For each run of layers that the GPUs could have, the CPU stages before and behind it
are solved by dynamic programming, and the GPUs try each way to stream what they have no room for.
Runs are tried in the order of a lower bound of their time, until no other can be better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import inf
from typing import Literal

from hetctl.plan import Offload, Strategy
from hetctl.planner.cost import StepCost
from hetctl.planner.device import Device
from hetctl.planner.engine import Run
from hetctl.planner.frontier import Criteria, Key, added, mirrored_weights, ways_to_begin
from hetctl.planner.limits import Limits
from hetctl.planner.memory import MemoryModel
from hetctl.planner.partition import Stage, beginnings, mirrored
from hetctl.planner.pipeline import stage_options
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.streamed import even_runs, overflow, weights_of
from hetctl.planner.streaming import prefetch_groups, streamed_bytes, uva_budget, waiting_s

Backend = Literal["uva", "prefetch"]
STRATEGY_OF: dict[Backend, Strategy] = {"uva": "pipeline-uva", "prefetch": "pipeline-prefetch"}

MOST_GPUS = 16

# With more, the best without limits is taken where it does not keep them.
_MOST_LAYERS = 200


# Layers x devices that are worth looking at again, with other chunks of prompts.
_MOST_STEPS_TWICE = 400


def streamed_pipeline(
    placer: Placer,
    orders: Sequence[Sequence[Device]],
    host_bytes: int,
    backend: Backend,
    cpus_required: bool = False,
) -> Placement | None:
    """The best pipeline of GPUs that stream and CPU stages, or None if none fits.

    All GPUs take part, stand next to one another and divide their layers evenly: vLLM has one
    setting of the offloading for all.

    Args:
        orders: The same devices in the pipeline orders to consider.
        host_bytes: Host memory for the CPU stages and for weights that are streamed.
        cpus_required: Use every CPU rank.
    """

    def search(placer: Placer, known: Placement | None) -> list[Placement]:
        return _searched(placer, orders, host_bytes, backend, cpus_required, known)

    return placer.best(search, len(orders[0]) * len(placer.spec.layers) <= _MOST_STEPS_TWICE)


def _searched(
    placer: Placer,
    orders: Sequence[Sequence[Device]],
    host_bytes: int,
    backend: Backend,
    cpus_required: bool,
    known: Placement | None,
) -> list[Placement]:
    memory = placer.memory(orders[0])
    best: _Found | None = None
    for order in filter(can_search, orders):
        search = _Search(placer, order, memory, host_bytes, backend, cpus_required)
        if known is not None and best is None:
            best = search.timed(known)
        best = search.better_than(best)
    if best is None:
        return []
    placement = placer.place(STRATEGY_OF[backend], best.runs, memory, best.offload)
    found = [placement]
    if placer.goal.met_by(placement.prediction) or len(placer.spec.layers) > _MOST_LAYERS:
        return found
    for order in filter(can_search, orders):
        search = _Search(placer, order, memory, host_bytes, backend, cpus_required)
        best = search.better_under_limits(Limits(placer, memory), placement.key(placer.goal))
        if best is not None:
            placement = placer.place(STRATEGY_OF[backend], best.runs, memory, best.offload)
            found.append(placement)
    return found


@dataclass(frozen=True, slots=True)
class _Found:
    time: float
    runs: tuple[Run, ...]
    offload: Offload


def can_search(order: Sequence[Device]) -> bool:
    """Whether no CPU rank is between two GPUs, and the GPUs are no more than a host has."""
    places = [i for i, device in enumerate(order) if device.kind == "cuda"]
    return places[-1] - places[0] == len(places) - 1 and len(places) <= MOST_GPUS


class _Search:
    """The search over one order of the devices."""

    def __init__(
        self,
        placer: Placer,
        order: Sequence[Device],
        memory: MemoryModel,
        host_bytes: int,
        backend: Backend,
        cpus_required: bool,
    ) -> None:
        self._memory, self._host_bytes, self._backend = memory, host_bytes, backend
        self._layers = placer.spec.layers
        self._steps = placer.goal_steps(memory.serving)
        places = [i for i, device in enumerate(order) if device.kind == "cuda"]
        begin, end = places[0], places[-1] + 1
        self._gpus = order[begin:end]
        self._costs = {device.label: placer.cost(device, self._steps) for device in order}
        self._before, self._behind = order[:begin], order[end:][::-1]
        options = stage_options(placer, order, memory, cpus_required)
        # From the last device and the last layer backwards.
        self._before_options = options[:begin]
        self._behind_options = options[end:][::-1]
        count = len(self._layers)
        self._front = beginnings(self._before_options, count)
        self._back = beginnings([mirrored(option) for option in self._behind_options], count)

    def timed(self, known: Placement) -> _Found | None:
        """A placement that another search found, by this one's time."""
        if known.offload is None:
            return None
        runs = tuple(Run(stage.device, stage.first, stage.end) for stage in known.stages)
        return _Found(self._time(runs, known.offload), runs, known.offload)

    def better_than(self, best: _Found | None) -> _Found | None:
        """The best of this order, or ``best`` where that is at least as good."""
        limit = inf if best is None else best.time
        for bound, first, end in sorted(self._ranges()):
            if bound >= limit:
                break
            cpus, on_cpus = self._around(first, end), self._cpu_runs(first, end)
            gpus = even_runs(self._gpus, first, end)
            fullest = max(gpus, key=self._overflow)
            others = bound - self._bound(fullest, self._overflow(fullest))
            for streamed, offload in self._offloads(fullest):
                if others + self._bound(fullest, streamed) >= limit:
                    continue
                time = cpus + self._time(gpus, offload)
                if time < limit and self._fits(gpus, on_cpus, offload):
                    limit = time
                    runs = sorted((*on_cpus, *gpus), key=lambda run: run.first)
                    best = _Found(time, tuple(runs), offload)
        return best

    def better_under_limits(self, limits: Limits, known: Key) -> _Found | None:
        """The best of this order by the goal's key; None where none is better than ``known``."""
        count, best = len(self._layers), None
        front = ways_to_begin(list(map(limits.weigh, self._before, self._before_options)), count)
        behind = map(limits.weigh, self._behind, self._behind_options)
        back = ways_to_begin([mirrored_weights(weighed) for weighed in behind], count)
        for _, first, end in self._ranges():
            gpus = even_runs(self._gpus, first, end)
            fullest = max(gpus, key=self._overflow)
            for _, offload in self._offloads(fullest):
                own = self._criteria(limits, gpus, offload)
                for before, after in product(front[first], back[count - end]):
                    key = limits.key(added(own, added(before.criteria, after.criteria)))
                    if key >= known:
                        continue
                    on_cpus = self._runs_of(before.stages(), after.stages())
                    if self._fits(gpus, on_cpus, offload):
                        known = key
                        runs = sorted((*on_cpus, *gpus), key=lambda run: run.first)
                        best = _Found(key[1], tuple(runs), offload)
        return best

    def _criteria(self, limits: Limits, gpus: Sequence[Run], offload: Offload) -> Criteria:
        total = (0.0, 0.0, 0.0)
        for run in gpus:
            total = added(total, limits.stage(run.device, partial(self._step_s, run, offload)))
        return total

    def _step_s(self, run: Run, offload: Offload, cost: StepCost) -> float:
        if run.device.kind == "cpu":
            return _resident_s(cost, run)
        rates, first, end = run.device.rates, run.first, run.end
        return _resident_s(cost, run) + waiting_s(cost, self._layers, rates, first, end, offload)

    def _ranges(self) -> Iterator[tuple[float, int, int]]:
        """Layers for the GPUs to have, each with a lower bound of the whole time."""
        count = len(self._layers)
        firsts = [first for first in range(count) if self._front.time[first] < inf]
        ends = [end for end in range(1, count + 1) if self._back.time[count - end] < inf]
        for first, end in product(firsts, ends):
            if end <= first or (first, end) == (0, count):
                continue  # CPU ranks take part, and GPUs.
            gpus = even_runs(self._gpus, first, end)
            if self._must_stream(gpus):
                least = sum(self._bound(run, self._overflow(run)) for run in gpus)
                yield self._around(first, end) + least, first, end

    def _around(self, first: int, end: int) -> float:
        """Time of the CPU stages before layer ``first`` and from layer ``end`` on."""
        return self._front.time[first] + self._back.time[len(self._layers) - end]

    def _cpu_runs(self, first: int, end: int) -> list[Run]:
        count = len(self._layers)
        return self._runs_of(self._front.stages(first), self._back.stages(count - end))

    def _runs_of(self, front: Sequence[Stage], back: Sequence[Stage]) -> list[Run]:
        count = len(self._layers)
        return [
            *(Run(self._before[s.option], s.first, s.end) for s in front),
            *(Run(self._behind[s.option], count - s.end, count - s.first) for s in back),
        ]

    def _must_stream(self, runs: Sequence[Run]) -> bool:
        """Whether there is something to stream, and it is enough."""
        excess = [self._overflow(run) for run in runs]
        weights = [weights_of(run, self._memory) for run in runs]
        return max(excess) > 0 and all(e <= w for e, w in zip(excess, weights, strict=True))

    def _overflow(self, run: Run) -> int:
        return overflow(run, self._memory)

    def _offloads(self, fullest: Run) -> Sequence[tuple[int, Offload]]:
        """Ways to make room on the fullest GPU, each with the bytes that it streams."""
        excess = self._overflow(fullest)
        if self._backend == "uva":
            return [(excess, uva_budget(excess))]
        return prefetch_groups(self._layers[fullest.first : fullest.end], excess)

    def _bound(self, run: Run, streamed_bytes: int) -> float:
        """Time that a GPU takes at least, which streams so many bytes or more.

        A step takes at least as long as its layers and, with prefetching, as its copies, while
        the background's, which is subtracted (:mod:`hetctl.planner.steps`), waits for its copies
        at most. More copies only cost more once they take as long as a step.
        """
        cost = self._costs[run.device.label]
        decode, mixed, background = (
            _resident_s(step, run) for step in (cost.decode, cost.mixed, cost.background)
        )
        if self._backend == "uva":
            return self._steps.per_token_s(decode, mixed, background)
        copies = streamed_bytes / run.device.rates.host_copy_bytes_per_s
        copies = max(copies, min(decode, mixed))
        return self._steps.per_token_s(max(decode, copies), max(mixed, copies), background + copies)

    def _time(self, runs: Sequence[Run], offload: Offload) -> float:
        total, known = 0.0, dict[tuple[int, int, int], float]()
        for run in runs:
            cost = self._costs[run.device.label]
            edge = (run.first == 0) + 2 * (run.end == len(self._layers))
            # Devices with the same rates share their costs, and like runs their time.
            place = run.end - run.first if cost.decode.alike else run.first
            key = (id(cost), place, edge)
            if key not in known:
                known[key] = self._run_time(run, offload)
            total += known[key]
        return total

    def _run_time(self, run: Run, offload: Offload) -> float:
        cost = self._costs[run.device.label]
        decode, mixed, background = (
            self._step_s(run, offload, step) for step in (cost.decode, cost.mixed, cost.background)
        )
        return self._steps.per_token_s(decode, mixed, background)

    def _fits(self, gpus: Sequence[Run], cpus: Sequence[Run], offload: Offload) -> bool:
        """Whether each GPU, and host memory, hold what they must."""
        host = sum(self._memory.needed(run.device, run.first, run.end) for run in cpus)
        for run in gpus:
            pinned, buffer = streamed_bytes(self._layers[run.first : run.end], offload)
            needed = self._memory.needed(run.device, run.first, run.end) - pinned + buffer
            if needed > run.device.memory_limit_bytes:
                return False
            host += pinned
        return host <= self._host_bytes


def _resident_s(cost: StepCost, run: Run) -> float:
    edge = (run.first == 0) + 2 * (run.end == len(cost.layers))
    return cost.sums_s[run.end] - cost.sums_s[run.first] + cost.edges_s[edge]
