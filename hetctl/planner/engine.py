"""The ranks of one placement, and how long they take together under a load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isinf

from hetctl.model.spec import LayerSpec
from hetctl.plan import Offload
from hetctl.planner.chunks import fewest_chunks, longest_step_s, most_chunks
from hetctl.planner.cost import StepCost
from hetctl.planner.device import Device
from hetctl.planner.host_memory import beside_one_another
from hetctl.planner.load_time import LoadTime, StepTimes, cycle_s, load_time
from hetctl.planner.stage_time import StageTime, resident_time
from hetctl.planner.steps import Step, Steps
from hetctl.planner.streaming import streamed_time
from hetctl.workload import Workload

# Numbers of batches in flight up to this one are all priced; beyond it powers of two, and as many
# as there are stages.
_ALL_BATCHES = 4

# Of one stage, from which on the others' share is not worth reading its weights twice.
_MOST_OF_THE_TIME = 0.9


@dataclass(frozen=True, slots=True)
class Run:
    """Layers ``[first, end)`` for a device to run."""

    device: Device
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What decides which batches there are.

    Attributes:
        batch_tokens: That a batch may hold.
        stall_s: How long the scheduler of an engine with CPU ranks lets a chunk of a prompt keep
            running requests waiting.
        overlap: Stages work at the same time where there are several batches.
    """

    batch_tokens: int
    stall_s: float
    overlap: bool


@dataclass
class Engine:
    """Ranks as pipeline stages, or as the shares of one.

    Attributes:
        layers: Of the whole model, or of one rank's share of it.
        cost: Of all layers on a device, in one step.
    """

    runs: Sequence[Run]
    layers: tuple[LayerSpec, ...]
    cost: Callable[[Device, Step], StepCost]
    offload: Offload | None
    shares: int
    _times: dict[tuple[Step, bool], list[StageTime]] = field(default_factory=dict)

    def schedule(self, load: Workload, scheduling: Scheduling) -> tuple[Steps, LoadTime]:
        """The steps of a load as they will be made, and what they take.

        vLLM keeps one batch of requests that decode; with CPU ranks the scheduler keeps as many as
        are fastest.
        """
        one = self._scheduled(load, scheduling, 1)
        if not scheduling.overlap or not self._has_cpu_rank or not self._may_gain(one[0]):
            return one
        several = (
            self._scheduled(load, scheduling, batches)
            for batches in _numbers_of_batches(min(len(self.runs), load.concurrency))
        )
        return min(one, *several, key=lambda one: one[1].per_token_s)

    def times(self, step: Step, together: bool = False) -> list[StageTime]:
        """Of each rank in one step.

        Args:
            together: Ranks of both kinds work at the same time.
        """
        key = step, together
        if key not in self._times:
            runs = self._together if together else self.runs
            self._times[key] = [self._time(run, step) for run in runs]
        return self._times[key]

    @property
    def _has_cpu_rank(self) -> bool:
        return any(run.device.kind == "cpu" for run in self.runs)

    @property
    def _together(self) -> list[Run]:
        """The runs with the rates that devices have beside one another."""
        devices = beside_one_another([run.device for run in self.runs], self.offload is not None)
        return [
            Run(device, run.first, run.end) for device, run in zip(devices, self.runs, strict=True)
        ]

    def _may_gain(self, steps: Steps) -> bool:
        """Whether dividing requests into several batches may be faster: not where one stage takes
        most of the time in any case, and would read its weights more often."""
        if self.shares > 1 or len(self.runs) == 1 or steps.concurrency == 1:
            return False
        kinds = [self._stages(step, False) for step in (steps.decode, steps.mixed)]
        return any(max(times) < _MOST_OF_THE_TIME * sum(times) for times in kinds)

    def _scheduled(
        self, load: Workload, scheduling: Scheduling, batches: int
    ) -> tuple[Steps, LoadTime]:
        steps = Steps.of(load, scheduling.batch_tokens, batches=batches)
        held = self._has_cpu_rank and steps.background.rows and not isinf(scheduling.stall_s)
        if held:
            chunks = self._chunks(load, scheduling, steps)
            steps = Steps.of(load, scheduling.batch_tokens, chunks, batches)
        overlap = scheduling.overlap and not (self._has_cpu_rank and steps.background.rows)
        return steps, load_time(steps, self._step_times(steps), overlap and self.shares == 1)

    def _chunks(self, load: Workload, scheduling: Scheduling, steps: Steps) -> int:
        """In how many a prompt comes where each may take a limited time."""

        def cycle(step: Step) -> float:
            return cycle_s(self._stages(step, steps.batches > 1), step, steps.batches)

        def fits(chunks: int) -> bool:
            divided = Steps.of(load, scheduling.batch_tokens, chunks, steps.batches)
            most_s = longest_step_s(scheduling.stall_s, cycle(divided.background))
            return cycle(divided.part) <= most_s

        # A step's time is about linear in the chunk's tokens.
        decodes_s = cycle(steps.background)
        most_s = longest_step_s(scheduling.stall_s, decodes_s)
        guess = steps.chunks * (cycle(steps.part) - decodes_s) / (most_s - decodes_s)
        most = most_chunks(load.input_len, steps.batches)
        return fewest_chunks(steps.chunks, most, fits, guess)

    def _step_times(self, steps: Steps) -> StepTimes:
        together = steps.batches > 1
        return StepTimes(
            decode=self._stages(steps.decode, together),
            mixed=self._stages(steps.mixed, together),
            part=self._stages(steps.part, together) if together else (),
            background=self._stages(steps.background, together),
        )

    def _stages(self, step: Step, together: bool) -> list[float]:
        """Shares of a tensor-parallel group wait for the slowest."""
        times = [time.total_s for time in self.times(step, together)]
        return [max(times)] if self.shares > 1 else times

    def _time(self, run: Run, step: Step) -> StageTime:
        cost = self.cost(run.device, step)
        if self.offload is None or run.device.kind != "cuda":
            return resident_time(cost, run.first, run.end)
        rates = run.device.rates
        return streamed_time(cost, self.layers, rates, run.first, run.end, self.offload)


def _numbers_of_batches(most: int) -> list[int]:
    """That are more than one, and that requests may be divided into."""
    numbers = range(2, most + 1)
    return [n for n in numbers if n <= _ALL_BATCHES or n == most or n & (n - 1) == 0]
