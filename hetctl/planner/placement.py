"""One concrete way to run a model: ranks on devices, with their costs and memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hetctl.document import Source
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Offload, Prediction, Strategy
from hetctl.planner.cost import AllReduce, CostModel, StepCost, cost_model
from hetctl.planner.device import Device
from hetctl.planner.memory import MemoryModel
from hetctl.planner.objective import Goal
from hetctl.planner.provenance import RateUse, rates_used, weakest_source
from hetctl.planner.serving import Serving, serving_for
from hetctl.planner.stage_time import StageTime, resident_time
from hetctl.planner.steps import Steps
from hetctl.planner.streaming import streamed_bytes, streamed_time
from hetctl.workload import Workload


@dataclass(frozen=True, slots=True)
class PlacedStage:
    """Layers ``[first, end)``, or a share of each, on a device; times are of one step."""

    device: Device
    first: int
    end: int
    decode: StageTime
    mixed_s: float
    background_s: float
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

    @property
    def decode_s(self) -> float:
        """One decode step, the engine's part included."""
        times = [stage.decode.total_s for stage in self.stages]
        together = max(times) if self.tensor_parallel > 1 else sum(times)
        return together + self.steps.decode.engine_s


@dataclass(frozen=True, slots=True)
class Run:
    """Layers ``[first, end)`` for a device to run."""

    device: Device
    first: int
    end: int


@dataclass
class Placer:
    """Turns runs into placements; costs are computed once per kind of device."""

    spec: ModelSpec
    workload: Workload
    max_model_len: int
    goal: Goal = field(default_factory=Goal)
    _costs: dict[tuple[object, ...], CostModel] = field(default_factory=dict)

    def serving(self, devices: Sequence[Device], stages: int | None = None) -> Serving:
        """Settings of an engine over ``devices``, with one stage on each unless told otherwise."""
        latent = self.spec.latent_cache
        return serving_for(tuple(devices), self.workload, self.max_model_len, latent, stages)

    def memory(self, devices: Sequence[Device]) -> MemoryModel:
        """The memory model of an engine over ``devices``."""
        return MemoryModel.of(self.spec, self.serving(devices))

    def steps(self, serving: Serving) -> Steps:
        """The steps of the workload."""
        return Steps.of(self.workload, serving.max_num_batched_tokens)

    def goal_steps(self, serving: Serving) -> Steps:
        """The steps whose time is to be least."""
        return Steps.of(self.goal.load(self.workload), serving.max_num_batched_tokens)

    def cost(self, device: Device, steps: Steps) -> CostModel:
        """Costs of the whole model on ``device``."""
        key = (device.rates, steps)
        if key not in self._costs:
            self._costs[key] = cost_model(self.spec, device.rates, steps)
        return self._costs[key]

    def place(
        self,
        strategy: Strategy,
        runs: Sequence[Run],
        memory: MemoryModel,
        offload: Offload | None = None,
    ) -> Placement:
        """Stages that follow one another; ``offload`` is for every GPU among them."""
        return self._placed(strategy, runs, memory, self.cost, offload)

    def place_shares(
        self,
        strategy: Strategy,
        devices: Sequence[Device],
        memory: MemoryModel,
        all_reduce: AllReduce,
    ) -> Placement:
        """Every layer divided among ``devices``; ``memory`` is of one share."""

        def cost(device: Device, steps: Steps) -> CostModel:
            graphs = memory.serving.cuda_graphs
            rates = device.rates if graphs else device.rates.without_graphs()
            return cost_model(memory.spec, rates, steps, all_reduce)

        runs = [Run(device, 0, len(self.spec.layers)) for device in devices]
        return self._placed(strategy, runs, memory, cost, shares=len(runs))

    def _placed(
        self,
        strategy: Strategy,
        runs: Sequence[Run],
        memory: MemoryModel,
        cost: Callable[[Device, Steps], CostModel],
        offload: Offload | None = None,
        shares: int = 1,
    ) -> Placement:
        serving = memory.serving
        steps = self.steps(serving)
        layers = memory.spec.layers
        times = [_run_times(cost(run.device, steps), layers, run, offload) for run in runs]
        decode, mixed, background = _together(times, shares)
        used = rates_used([run.device for run in runs], offload, shares)
        goal_steps = self.goal_steps(serving)
        if goal_steps == steps:
            objective = _per_token(steps, decode, mixed, background)
        else:
            alone = [_run_times(cost(run.device, goal_steps), layers, run, offload) for run in runs]
            objective = _per_token(goal_steps, *_together(alone, shares))
        return Placement(
            strategy=strategy,
            stages=tuple(
                _stage(run, parts, layers, offload) for run, parts in zip(runs, times, strict=True)
            ),
            memory=memory,
            steps=steps,
            prediction=_predict(steps, decode, mixed, background, weakest_source(used)),
            objective_s=objective,
            offload=offload,
            tensor_parallel=shares,
            rates_used=used,
        )


def _stage(
    run: Run,
    times: tuple[StageTime, StageTime, StageTime],
    layers: tuple[LayerSpec, ...],
    offload: Offload | None,
) -> PlacedStage:
    decode, mixed, background = times
    host, buffer = 0, 0
    if offload is not None and run.device.kind == "cuda":
        host, buffer = streamed_bytes(layers[run.first : run.end], offload)
    return PlacedStage(
        device=run.device,
        first=run.first,
        end=run.end,
        decode=decode,
        mixed_s=mixed.total_s,
        background_s=background.total_s,
        host_bytes=host,
        buffer_bytes=buffer,
    )


def _run_times(
    cost: CostModel, layers: tuple[LayerSpec, ...], run: Run, offload: Offload | None
) -> tuple[StageTime, StageTime, StageTime]:
    """Of a decode, a mixed and a background step.

    Args:
        layers: Of the whole model.
    """

    def one(step: StepCost) -> StageTime:
        if offload is None or run.device.kind != "cuda":
            return resident_time(step, run.first, run.end)
        return streamed_time(step, layers, run.device.rates, run.first, run.end, offload)

    return one(cost.decode), one(cost.mixed), one(cost.background)


def _together(
    times: Sequence[tuple[StageTime, StageTime, StageTime]], shares: int
) -> tuple[float, float, float]:
    """Stages take turns; the shares of a tensor-parallel group wait for the slowest."""
    decode, mixed, background = (
        [kind.total_s for kind in kinds] for kinds in zip(*times, strict=True)
    )
    if shares > 1:
        return max(decode), max(mixed), max(background)
    return sum(decode), sum(mixed), sum(background)


def _with_engine(
    steps: Steps, decode: float, mixed: float, background: float
) -> tuple[float, float, float]:
    return (
        decode + steps.decode.engine_s,
        mixed + steps.mixed.engine_s,
        background + steps.background.engine_s,
    )


def _per_token(steps: Steps, decode: float, mixed: float, background: float) -> float:
    return steps.per_token_s(*_with_engine(steps, decode, mixed, background))


def _predict(
    steps: Steps, decode: float, mixed: float, background: float, rates: Source
) -> Prediction:
    """Speed of a closed loop; :mod:`hetctl.planner.steps` says how the times combine."""
    decode, mixed, background = _with_engine(steps, decode, mixed, background)
    return Prediction(
        ttft_s=steps.ttft_s(mixed),
        tpot_s=steps.tpot_s(decode, mixed, background),
        output_tokens_per_s=steps.concurrency / steps.per_token_s(decode, mixed, background),
        rates=rates,
    )
