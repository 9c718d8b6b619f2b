"""One concrete way to run a model: ranks on devices, with their costs and memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from math import isinf

from hetctl.document import Source
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Offload, Prediction, Strategy
from hetctl.planner.chunks import STALL_S, fewest_chunks, longest_step_s
from hetctl.planner.cost import (
    AllReduce,
    CostModel,
    LayerKinds,
    StepCost,
    cost_model,
    step_cost,
)
from hetctl.planner.device import Device
from hetctl.planner.memory import MemoryModel
from hetctl.planner.objective import Goal
from hetctl.planner.provenance import RateUse, rates_used, weakest_source
from hetctl.planner.serving import Serving, serving_for
from hetctl.planner.stage_time import StageTime, resident_time
from hetctl.planner.steps import Step, Steps
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
    """Turns runs into placements; costs are computed once per kind of device.

    Attributes:
        chunks: That a prompt is taken to come in at least, while the best runs are looked for. A
            placement has as many as there will be.
        stall_s: How long the scheduler of an engine with CPU ranks lets a chunk of a prompt keep
            running requests waiting.
    """

    spec: ModelSpec
    workload: Workload
    max_model_len: int
    goal: Goal = field(default_factory=Goal)
    chunks: int = 1
    stall_s: float = STALL_S
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
        search: Callable[["Placer", Placement | None], Placement | None],
        again: bool = True,
    ) -> Placement | None:
        """The best placement that ``search`` finds, with prompts in as many chunks as they will
        come in on it: their number is known only then, and another may be best with so many.

        Args:
            search: Is given what is the best so far.
            again: Whether there is time to look for another.
        """
        best = search(self, None)
        if best is None or not again or self._chunks_of(best) == best.steps.chunks:
            return best
        other = search(replace(self, chunks=best.steps.chunks), best)
        return min(filter(None, (best, other)), key=lambda one: one.key(self.goal))

    def _chunks_of(self, found: Placement) -> int:
        """In which prompts were taken to come when it was looked for."""
        return self.steps(found.memory.serving).chunks

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
        engine = _Engine(runs, memory.spec.layers, cost, offload, shares)
        batch = memory.serving.max_num_batched_tokens
        steps = self._as_scheduled(engine, self.workload, batch)
        goal_load = self.goal.load(self.workload)
        same = goal_load == self.workload
        goal_steps = steps if same else self._as_scheduled(engine, goal_load, batch)
        used = rates_used([run.device for run in runs], offload, shares)
        return Placement(
            strategy=strategy,
            stages=engine.stages(steps),
            memory=memory,
            steps=steps,
            prediction=engine.predicted(steps, weakest_source(used)),
            objective_s=engine.per_token_s(goal_steps),
            offload=offload,
            tensor_parallel=shares,
            rates_used=used,
        )

    def _as_scheduled(self, engine: "_Engine", load: Workload, batch_tokens: int) -> Steps:
        """The steps of a load on given runs: prompts in as many chunks as they will come in."""
        steps = Steps.of(load, batch_tokens)
        if not (engine.has_cpu_rank and steps.mixed.decoding) or isinf(self.stall_s):
            return steps
        first, decodes_s = engine.step_s(steps.mixed), engine.step_s(steps.background)

        def fits(chunks: int) -> bool:
            divided = Steps.of(load, batch_tokens, chunks)
            most_s = longest_step_s(self.stall_s, engine.step_s(divided.background))
            return engine.step_s(divided.mixed) <= most_s

        # A step's time is about linear in the chunk's tokens.
        most_s = longest_step_s(self.stall_s, decodes_s)
        guess = steps.chunks * (first - decodes_s) / (most_s - decodes_s)
        return Steps.of(
            load, batch_tokens, fewest_chunks(steps.chunks, load.input_len, fits, guess)
        )


@dataclass
class _Engine:
    """The ranks of one placement, and how long they take together.

    Attributes:
        layers: Of the whole model, or of one rank's share of it.
        cost: Of all layers on a device, in one step.
    """

    runs: Sequence[Run]
    layers: tuple[LayerSpec, ...]
    cost: Callable[[Device, Step], StepCost]
    offload: Offload | None
    shares: int
    _times: dict[Step, list[StageTime]] = field(default_factory=dict)

    @property
    def has_cpu_rank(self) -> bool:
        return any(run.device.kind == "cpu" for run in self.runs)

    def times(self, step: Step) -> list[StageTime]:
        """Of each rank in one step."""
        if step not in self._times:
            self._times[step] = [self._time(run, step) for run in self.runs]
        return self._times[step]

    def _time(self, run: Run, step: Step) -> StageTime:
        cost = self.cost(run.device, step)
        if self.offload is None or run.device.kind != "cuda":
            return resident_time(cost, run.first, run.end)
        rates = run.device.rates
        return streamed_time(cost, self.layers, rates, run.first, run.end, self.offload)

    def step_s(self, step: Step) -> float:
        """Stages take turns; the shares of a tensor-parallel group wait for the slowest."""
        times = [time.total_s for time in self.times(step)]
        return (max(times) if self.shares > 1 else sum(times)) + step.engine_s

    def per_token_s(self, steps: Steps) -> float:
        """Time of one request by its tokens."""
        kinds = map(self.step_s, (steps.decode, steps.mixed, steps.background))
        return steps.per_token_s(*kinds)

    def predicted(self, steps: Steps, rates: Source) -> Prediction:
        """Speed of a closed loop; :mod:`hetctl.planner.steps` says how the times combine."""
        decode, mixed, background = map(self.step_s, (steps.decode, steps.mixed, steps.background))
        per_token_s = steps.per_token_s(decode, mixed, background)
        return Prediction(
            ttft_s=steps.ttft_s(mixed),
            tpot_s=steps.tpot_s(decode, mixed, background),
            output_tokens_per_s=steps.concurrency / per_token_s,
            rates=rates,
        )

    def stages(self, steps: Steps) -> tuple[PlacedStage, ...]:
        """The ranks with their times."""
        kinds = map(self.times, (steps.decode, steps.mixed, steps.background))
        return tuple(
            self._stage(run, *times) for run, *times in zip(self.runs, *kinds, strict=True)
        )

    def _stage(
        self, run: Run, decode: StageTime, mixed: StageTime, background: StageTime
    ) -> PlacedStage:
        host, buffer = 0, 0
        if self.offload is not None and run.device.kind == "cuda":
            host, buffer = streamed_bytes(self.layers[run.first : run.end], self.offload)
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
