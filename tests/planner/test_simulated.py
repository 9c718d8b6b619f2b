"""Predictions against vLLM's engine loop and schedulers, over stages of simulated time.

What is held here is how steps make a load: how stages overlap, how batches divide and prompts are
cut. The stages take a fixed time and a time per token, in both.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pytest
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request

from hetctl.model.tiny import write_tiny
from hetctl.planner.cost import StepCost
from hetctl.planner.device import Device, cpu_devices, gpu_device
from hetctl.planner.engine import Engine, Run, Scheduling
from hetctl.planner.load_time import LoadTime
from hetctl.planner.request import PlanRequest
from hetctl.planner.stage_time import StageTime
from hetctl.planner.steps import Step, Steps
from hetctl.workload import Workload
from tests.planner.machines import gpu, machine
from tests.runtime.scheduling.pipeline import Pipeline, Stream, stage, token_after
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler

Cost = tuple[float, float]
"""Seconds of a step, and of each of its tokens."""

BATCH_TOKENS = 2048
# Measured for 24 and 8 layers of an 8B model on an H200 and on 16 cores; made up for the others.
GPU: Cost = (0.004, 0.00004)
CPU: Cost = (0.057, 0.0013)
SOCKET: Cost = (0.010, 0.003)
SLOW_GPU: Cost = (0.006, 0.00006)


class ClosedLoop(Pipeline):
    """Clients that send their next request when one is done."""

    def serve(self, load: Workload, gap_s: float) -> list[Stream]:
        """Ten requests of each client, in the order in which they were done."""
        starts = deque(gap_s * i for i in range(load.concurrency))
        live: dict[str, Stream] = {}
        done: list[Stream] = []
        while len(done) < 10 * load.concurrency:
            while starts and starts[0] <= self.now_s:
                self._send(load, starts.popleft(), live, len(done))
            if not (self.scheduler.has_requests() or self.core.batch_queue):
                self.now_s = max(self.now_s, starts[0])
                continue
            outputs, executed = self.core.step_fn()
            for output in (outputs or {}).values():
                for one in output.outputs:
                    stream = live[one.request_id]
                    stream.token_times_s += [self.now_s] * len(one.new_token_ids)
                    if one.finish_reason is not None:
                        done.append(live.pop(one.request_id))
                        self._send(load, self.now_s, live, len(done))
            if not executed and self.scheduler.has_requests():
                # Shorter than the engine's own sleep, which is long beside these steps.
                self.now_s += 1e-4
        return done

    def _send(self, load: Workload, at_s: float, live: dict[str, Stream], done: int) -> None:
        name = f"{done}-{len(live)}"
        live[name] = Stream(name, at_s, load.input_len, load.output_len)
        self.scheduler.add_request(self._request(live[name]))

    def _request(self, stream: Stream) -> Request:
        request = super()._request(stream)
        # The simulated tokens repeat: without a salt, prompts would be found in the cache.
        return Request(
            request_id=stream.name,
            prompt_token_ids=[token_after(stream.name, i) for i in range(stream.prompt_tokens)],
            sampling_params=request.sampling_params,
            pooling_params=None,
            arrival_time=stream.arrives_s,
            block_hasher=self.hasher,
            cache_salt=stream.name,
        )


class Simulated(Engine):
    """Ranks whose steps take as long as the simulation's."""

    def times(self, step: Step, together: bool = False) -> list[StageTime]:
        costs: Sequence[Cost] = self.costs  # type: ignore[attr-defined]
        return [
            StageTime(weights_s=fixed + each * step.rows if step.rows else 0.0)
            for fixed, each in costs
        ]


def predicted(stages: Sequence[Cost], on_cpu: bool, load: Workload) -> tuple[Steps, LoadTime]:
    def no_cost(device: Device, step: Step) -> StepCost:
        raise NotImplementedError

    card = gpu_device(gpu(), PlanRequest(), "bfloat16")
    core = cpu_devices(machine(), None, "bfloat16")[0]
    # One CPU rank makes the scheduler the runtime's.
    devices = [core if on_cpu and i == 0 else card for i in range(len(stages))]
    engine = Simulated([Run(one, i, i + 1) for i, one in enumerate(devices)], (), no_cost, None, 1)
    engine.costs = stages  # type: ignore[attr-defined]
    return engine.schedule(load, Scheduling(BATCH_TOKENS, stall_s=0.5, overlap=True))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    write_tiny(path)
    return path


def simulated(tiny: Path, stages: Sequence[Cost], on_cpu: bool, load: Workload) -> list[Stream]:
    pipeline = ClosedLoop(
        tiny,
        HeterogeneousScheduler if on_cpu else Scheduler,
        [stage(*cost) for cost in stages],
        blocks=50_000,
        max_batched_tokens=BATCH_TOKENS,
    )
    one_batch_s = sum(fixed for fixed, _ in stages)
    return pipeline.serve(load, one_batch_s * load.output_len / load.concurrency)


CASES = [
    # Few batches, as one stage is most of the time.
    ([GPU, CPU], True, (8, 2048, 128), 1),
    ([GPU, CPU], True, (16, 2048, 64), 1),
    ([GPU, CPU], True, (32, 128, 64), 1),
    # As many as stages.
    ([SOCKET, SOCKET], True, (8, 400, 64), 2),
    ([SOCKET, SOCKET], True, (32, 128, 64), 2),
    ([SOCKET, SOCKET], True, (16, 1024, 32), 2),
    ([SOCKET] * 3, True, (8, 400, 64), 3),
    # vLLM's own: decodes in one batch, prompts beside them.
    ([GPU, GPU], False, (8, 400, 64), 1),
    ([GPU, GPU], False, (32, 128, 64), 1),
    ([GPU, SLOW_GPU], False, (16, 1024, 32), 1),
    ([GPU] * 4, False, (8, 2048, 128), 1),
]


@pytest.mark.parametrize(
    ("stages", "on_cpu", "shape", "batches"),
    CASES,
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_throughput_and_time_per_token_are_those_of_the_engine_loop(
    stages: list[Cost], on_cpu: bool, shape: tuple[int, int, int], batches: int, tiny: Path
) -> None:
    concurrency, prompt, answer = shape
    load = Workload(concurrency=concurrency, input_len=prompt, output_len=answer)
    steps, told = predicted(stages, on_cpu, load)
    assert steps.batches == batches
    done = simulated(tiny, stages, on_cpu, load)
    settled = done[len(done) // 3 :]
    lasted = settled[-1].token_times_s[-1] - done[len(done) // 3 - 1].token_times_s[-1]
    rate = len(settled) * answer / lasted
    assert concurrency / told.per_token_s == pytest.approx(rate, rel=0.15)
    tpot = mean((s.token_times_s[-1] - s.token_times_s[0]) / (answer - 1) for s in settled)
    assert told.tpot_s == pytest.approx(tpot, rel=0.2)


@pytest.mark.parametrize("on_cpu", [True, False])
def test_chunks_of_a_prompt_that_is_alone_follow_one_another(on_cpu: bool, tiny: Path) -> None:
    stages = [SOCKET, SOCKET, SOCKET]
    load = Workload(concurrency=1, input_len=6000, output_len=16)
    steps, told = predicted(stages, on_cpu, load)
    assert steps.chunks == 3
    done = simulated(tiny, stages, on_cpu, load)
    ttft = mean(one.token_times_s[0] - one.arrives_s for one in done)
    assert told.ttft_s == pytest.approx(ttft, rel=0.03)
    # In turn, three stages take three times as long as one.
    assert told.ttft_s < 0.65 * 3 * sum(0.010 + 0.003 * 2000 for _ in range(3))
