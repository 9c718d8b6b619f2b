"""One concrete way to run a model: stages on devices, with their costs and memory."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hetctl.model.spec import ModelSpec
from hetctl.plan import Prediction, Strategy
from hetctl.planner.balance import balanced
from hetctl.planner.cost import CostModel, cost_model, step_overhead_s
from hetctl.planner.device import Device, weakest
from hetctl.planner.memory import MemoryModel
from hetctl.planner.partition import Partition, StageOption, best_assignment, best_partition
from hetctl.planner.serving import serving_for
from hetctl.workload import Workload


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """Layers ``[first, end)`` on a device, with the times in seconds."""

    device: Device
    first: int
    end: int
    decode_s: float
    prefill_s: float
    read_s: float
    """Of the decode time, what reading alone would take."""
    compute_s: float


@dataclass(frozen=True, slots=True)
class Placement:
    """A feasible split and its speed."""

    stages: tuple[PlacedStage, ...]
    memory: MemoryModel
    prediction: Prediction
    objective_s: float
    """Time per output token with the prefill's share: what plans are compared by."""

    @property
    def strategy(self) -> Strategy:
        kinds = {stage.device.kind for stage in self.stages}
        return "pipeline" if len(kinds) > 1 else ("gpu" if "cuda" in kinds else "cpu")

    @property
    def split(self) -> tuple[int, ...]:
        return tuple(stage.end - stage.first for stage in self.stages)


class Placer:
    """Places one model under one workload; costs are computed once per kind of device."""

    def __init__(self, spec: ModelSpec, workload: Workload, max_model_len: int) -> None:
        self.spec = spec
        self.workload = workload
        self._max_model_len = max_model_len
        self._costs: dict[tuple[object, ...], CostModel] = {}

    def memory(self, devices: Sequence[Device]) -> MemoryModel:
        """The memory model of an engine over ``devices``."""
        serving = serving_for(tuple(devices), self.workload, self._max_model_len)
        return MemoryModel.of(self.spec, serving)

    def fastest(
        self,
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
        memory = self.memory(orders[0])
        best: tuple[Partition, Sequence[Device], list[StageOption]] | None = None
        for devices in orders:
            options = self._options(devices, memory, cpus_required)
            partition = best_partition(options, at_least)
            if partition and (best is None or partition.time < best[0].time):
                best = partition, devices, options
        if best is None:
            return None
        partition, devices, options = best
        return self._placed(devices, memory, balanced(partition, options))

    def assigned(
        self,
        devices: Sequence[Device],
        split: Sequence[int],
        cpus_required: bool = False,
        unlimited: bool = False,
    ) -> Placement | None:
        """The best choice of ``devices`` for stages of given sizes, or None if none fits.

        ``unlimited`` ignores the devices' memory, to tell what a split would need.
        """
        memory = self.memory(devices)
        options = self._options(devices, memory, cpus_required)
        if unlimited:
            options = [replace(option, limit=sys.maxsize) for option in options]
        partition = best_assignment(options, split)
        return None if partition is None else self._placed(devices, memory, partition)

    def _options(
        self, devices: Sequence[Device], memory: MemoryModel, cpus_required: bool
    ) -> list[StageOption]:
        options = []
        for device in devices:
            cost = self._cost(device)
            options.append(
                StageOption(
                    time=cost.objective_s,
                    memory=memory.layers,
                    edge_time=cost.edge_objective_s,
                    edge_memory=memory.edges(device),
                    limit=device.memory_limit_bytes,
                    group=0 if device.kind == "cuda" else 1,
                    mandatory=cpus_required and device.kind == "cpu",
                )
            )
        return options

    def _cost(self, device: Device) -> CostModel:
        if device.speed not in self._costs:
            self._costs[device.speed] = cost_model(self.spec, self.workload, device)
        return self._costs[device.speed]

    def _placed(
        self, devices: Sequence[Device], memory: MemoryModel, partition: Partition
    ) -> Placement:
        stages = []
        for stage in partition.stages:
            device = devices[stage.option]
            cost = self._cost(device)
            first, end = stage.first, stage.end
            edge = (first == 0) + 2 * (end == len(self.spec.layers))
            stages.append(
                PlacedStage(
                    device=device,
                    first=first,
                    end=end,
                    decode_s=cost.decode_s[end] - cost.decode_s[first] + cost.edge_decode_s[edge],
                    prefill_s=cost.prefill_s[end]
                    - cost.prefill_s[first]
                    + cost.edge_prefill_s[edge],
                    read_s=cost.read_s[end] - cost.read_s[first],
                    compute_s=cost.compute_s[end] - cost.compute_s[first],
                )
            )
        prediction = _predict(stages, self.workload)
        return Placement(
            stages=tuple(stages),
            memory=memory,
            prediction=prediction,
            objective_s=self.workload.concurrency / prediction.output_tokens_per_s,
        )


def _predict(stages: Sequence[PlacedStage], workload: Workload) -> Prediction:
    """Speed of a closed loop; :mod:`hetctl.planner.cost` says how the times combine."""
    step = sum(stage.decode_s for stage in stages) + step_overhead_s(workload)
    prefill = sum(stage.prefill_s for stage in stages)
    others = (workload.concurrency - 1) * prefill / workload.output_len
    per_token = step + workload.concurrency * prefill / workload.output_len
    return Prediction(
        ttft_s=prefill + step,
        tpot_s=step + others,
        output_tokens_per_s=workload.concurrency / per_token,
        rates=weakest(stage.device.rates for stage in stages),
    )
