"""One concrete way to run a model: ranks on devices, with their costs and memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from hetctl.model.spec import ModelSpec
from hetctl.plan import Offload, Prediction, Strategy
from hetctl.planner.chunks import STALL_S
from hetctl.planner.cost import (
    AllReduce,
    CostModel,
    LayerKinds,
    StepCost,
    cost_model,
    step_cost,
)
from hetctl.planner.device import Device
from hetctl.planner.engine import Engine, Run, Scheduling
from hetctl.planner.memory import MemoryModel
from hetctl.planner.objective import Goal
from hetctl.planner.provenance import RateUse, rates_used, weakest_source
from hetctl.planner.serving import Serving, serving_for
from hetctl.planner.stage_time import StageTime
from hetctl.planner.steps import Step, Steps
from hetctl.planner.streaming import streamed_bytes
from hetctl.workload import Workload


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """Layers ``[first, end)``, or a share of each, on a device; times are of one step."""

    device: Device
    first: int
    end: int
    decode: StageTime
    mixed_s: float
    host_bytes: int = 0
    """Weights in pinned host memory."""
    buffer_bytes: int = 0
    """Room on the device for weights that are being copied to it."""

    def needed(self, memory: MemoryModel) -> int:
        """Bytes on the device."""
        resident = memory.needed(self.device, self.first, self.end)
        return resident - self.host_bytes + self.buffer_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """A feasible way to run the model, and its speed."""

    strategy: Strategy
    stages: tuple[PlacedStage, ...]
    """One per rank: stages of a pipeline, or the shares of a tensor-parallel group."""
    memory: MemoryModel
    """Of a rank; for a tensor-parallel group, of its share of the model."""
    steps: Steps
    prediction: Prediction
    objective_s: float
    """What plans are compared by: time per output token, the prompt's share included."""
    decode_s: float
    """From one token of a request to the next where no prompt comes between."""
    offload: Offload | None = None
    tensor_parallel: int = 1
    rates_used: tuple[RateUse, ...] = ()

    @property
    def split(self) -> tuple[int, ...]:
        return tuple(stage.end - stage.first for stage in self.stages[:: self.tensor_parallel])

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(stage.device for stage in self.stages)

    def key(self, goal: Goal) -> tuple[float, float]:
        """What it is compared by under ``goal``."""
        found = self.prediction
        return goal.key(self.objective_s, found.ttft_s, found.tpot_s)


@dataclass
class Placer:
    """Turns runs into placements; costs are computed once per kind of device.

    Attributes:
        chunks: That a prompt is taken to come in at least, while the best runs are looked for. A
            placement has as many as there will be.
        stall_s: How long the scheduler of an engine with CPU ranks lets a chunk of a prompt keep
            running requests waiting.
        overlap: Stages work at the same time where several batches are in flight; without, one is.
    """

    spec: ModelSpec
    workload: Workload
    max_model_len: int
    goal: Goal = field(default_factory=Goal)
    chunks: int = 1
    stall_s: float = STALL_S
    overlap: bool = True
    _costs: dict[tuple[object, ...], CostModel] = field(default_factory=dict)
    _step_costs: dict[tuple[object, ...], StepCost] = field(default_factory=dict)

    def serving(self, devices: Sequence[Device], stages: int | None = None) -> Serving:
        """Settings of an engine over ``devices``, with one stage on each unless told otherwise."""
        latent = self.spec.latent_cache
        return serving_for(tuple(devices), self.workload, self.max_model_len, latent, stages)

    def memory(self, devices: Sequence[Device]) -> MemoryModel:
        """The memory model of an engine over ``devices``."""
        return MemoryModel.of(self.spec, self.serving(devices))

    def steps(self, serving: Serving) -> Steps:
        """The steps of the workload, while the best runs are looked for."""
        return Steps.of(self.workload, serving.max_num_batched_tokens, self.chunks)

    def goal_steps(self, serving: Serving) -> Steps:
        """The steps whose time is to be least, likewise."""
        load = self.goal.load(self.workload)
        return Steps.of(load, serving.max_num_batched_tokens, self.chunks)

    def cost(self, device: Device, steps: Steps) -> CostModel:
        """Costs of the whole model on ``device``."""
        key = (device.rates, steps)
        if key not in self._costs:
            self._costs[key] = cost_model(steps, partial(self.step_cost, device))
        return self._costs[key]

    def step_cost(self, device: Device, step: Step) -> StepCost:
        """Of one kind of step."""
        key = (device.rates, step)
        if key not in self._step_costs:
            layers = self._layer_kinds
            self._step_costs[key] = step_cost(self.spec, device.rates, step, layers=layers)
        return self._step_costs[key]

    @cached_property
    def _layer_kinds(self) -> LayerKinds:
        return LayerKinds.of(self.spec)

    def best(
        self,
        search: Callable[["Placer", Placement | None], Sequence[Placement]],
        again: bool = True,
    ) -> Placement | None:
        """The best of the placements that ``search`` finds, with all that is known only of them.

        The search takes one batch to be in flight, and prompts to come in given chunks: as many as
        a batch allows, then as many as they will come in on what was found.

        Args:
            search: Is given a placer, and what is the best so far.
            again: Whether there is time to look for another.
        """
        serial = replace(self, overlap=False)
        found = list(search(serial, None))
        best = min(found, key=lambda one: one.key(self.goal), default=None)
        if best is not None and again and self._chunks_of(best) != best.steps.chunks:
            found += search(replace(serial, chunks=best.steps.chunks), best)
        if self.overlap:
            unlike = {(one.devices, one.split): one for one in found}
            found = list(map(self._priced, unlike.values()))
        return min(found, key=lambda one: one.key(self.goal), default=None)

    def _chunks_of(self, found: Placement) -> int:
        """In which prompts were taken to come when it was looked for."""
        return self.steps(found.memory.serving).chunks

    def _priced(self, found: Placement) -> Placement:
        """A placement of another placer."""
        runs = [Run(stage.device, stage.first, stage.end) for stage in found.stages]
        return self.place(found.strategy, runs, found.memory, found.offload)

    def place(
        self,
        strategy: Strategy,
        runs: Sequence[Run],
        memory: MemoryModel,
        offload: Offload | None = None,
    ) -> Placement:
        """Stages that follow one another; ``offload`` is for every GPU among them."""
        return self._placed(strategy, runs, memory, self.step_cost, offload)

    def share_cost(
        self, memory: MemoryModel, all_reduce: AllReduce
    ) -> Callable[[Device, Step], StepCost]:
        """Costs of one rank's share of every layer; ``memory`` is of the share."""
        graphs, layers = memory.serving.cuda_graphs, LayerKinds.of(memory.spec)
        known: dict[tuple[object, ...], StepCost] = {}

        def cost(device: Device, step: Step) -> StepCost:
            rates = device.rates if graphs else device.rates.without_graphs()
            if (rates, step) not in known:
                known[rates, step] = step_cost(memory.spec, rates, step, all_reduce, layers)
            return known[rates, step]

        return cost

    def place_shares(
        self,
        strategy: Strategy,
        devices: Sequence[Device],
        memory: MemoryModel,
        cost: Callable[[Device, Step], StepCost],
        offload: Offload | None = None,
    ) -> Placement:
        """Every layer divided among ``devices``.

        Args:
            memory: Of one share.
            cost: Of one share, of :meth:`share_cost`.
            offload: For every GPU among them.
        """
        runs = [Run(device, 0, len(self.spec.layers)) for device in devices]
        return self._placed(strategy, runs, memory, cost, offload, shares=len(runs))

    def _placed(
        self,
        strategy: Strategy,
        runs: Sequence[Run],
        memory: MemoryModel,
        cost: Callable[[Device, Step], StepCost],
        offload: Offload | None = None,
        shares: int = 1,
    ) -> Placement:
        engine = Engine(runs, memory.spec.layers, cost, offload, shares)
        scheduling = Scheduling(
            memory.serving.max_num_batched_tokens, self.stall_s, overlap=self.overlap
        )
        goal_load = self.goal.load(self.workload)
        steps, times = engine.schedule(self.workload, scheduling)
        goal_times = times
        if goal_load != self.workload:
            _, goal_times = engine.schedule(goal_load, scheduling)
        devices = [run.device for run in runs]
        used = rates_used(devices, offload, shares, together=steps.batches > 1)
        return Placement(
            strategy=strategy,
            stages=_stages(engine, steps),
            memory=memory,
            steps=steps,
            prediction=Prediction(
                ttft_s=times.ttft_s,
                tpot_s=times.tpot_s,
                output_tokens_per_s=self.workload.concurrency / times.per_token_s,
                rates=weakest_source(used),
            ),
            objective_s=goal_times.per_token_s,
            decode_s=times.decode_s,
            offload=offload,
            tensor_parallel=shares,
            rates_used=used,
        )


def _stages(engine: Engine, steps: Steps) -> tuple[PlacedStage, ...]:
    """The ranks with their times."""
    kinds = map(engine.times, (steps.decode, steps.mixed))
    return tuple(
        _stage(engine, run, decode, mixed)
        for run, decode, mixed in zip(engine.runs, *kinds, strict=True)
    )


def _stage(engine: Engine, run: Run, decode: StageTime, mixed: StageTime) -> PlacedStage:
    host, buffer = 0, 0
    if engine.offload is not None and run.device.kind == "cuda":
        host, buffer = streamed_bytes(engine.layers[run.first : run.end], engine.offload)
    return PlacedStage(
        device=run.device,
        first=run.first,
        end=run.end,
        decode=decode,
        mixed_s=mixed.total_s,
        host_bytes=host,
        buffer_bytes=buffer,
    )
