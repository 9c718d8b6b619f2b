"""A rank's steps are counted: at once on a CPU, and on a GPU when it is done, without waiting."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vllm_hetero import stage_times
from vllm_hetero.metrics import record
from vllm_hetero.metrics.record import RankRecord, Word
from vllm_hetero.metrics.step_meter import GpuMemory, StepMeter
from vllm_hetero.stage_times import StageTime, StepTimer

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


class Runner:
    """A model runner whose parts only take time."""

    def __init__(self, device: torch.device, seconds: float = 0.0, is_last: bool = True) -> None:
        self.device = device
        self._seconds = seconds
        self.model = SimpleNamespace(compute_logits=self._work) if is_last else SimpleNamespace()

    def _work(self, *args: Any) -> None:
        time.sleep(self._seconds)

    def _model_forward(self, positions: torch.Tensor) -> None:
        time.sleep(2 * self._seconds)

    _sample = _work

    def step(self, rows: int) -> None:
        self._model_forward(positions=torch.zeros(rows))
        if hasattr(self.model, "compute_logits"):
            self.model.compute_logits()
            self._sample()


@pytest.fixture
def own(tmp_path: Path) -> RankRecord:
    record.create(tmp_path, 0)
    return RankRecord(tmp_path, 0)


def told(tmp_path: Path) -> dict[Word, float]:
    return record.read(tmp_path, 0)


def test_layers_and_head_are_timed_apart() -> None:
    steps: list[StageTime] = []
    runner = Runner(CPU, seconds=0.02)
    timer = StepTimer(runner, steps.append)  # type: ignore[arg-type]
    before = time.perf_counter()
    runner.step(7)
    timer.settle()
    passed = time.perf_counter() - before
    (step,) = steps
    assert step.tokens == 7
    assert before <= step.begun_s <= before + passed
    # Logits and sampling sleep once each, layers for as long as both.
    assert step.seconds >= 0.04
    assert step.head_seconds >= 0.04
    assert step.seconds + step.head_seconds <= passed


def test_a_step_is_told_once_and_not_before_its_head() -> None:
    steps: list[StageTime] = []
    runner = Runner(CPU)
    timer = StepTimer(runner, steps.append)  # type: ignore[arg-type]
    runner.model.compute_logits()  # A rehearsal of the sampler, without a step.
    runner.step(1)
    assert steps == []
    runner.step(2)
    assert [step.tokens for step in steps] == [1]
    timer.settle()
    timer.settle()
    assert [step.tokens for step in steps] == [1, 2]


class Event:
    """A CUDA event on a GPU whose clock stands still unless the test moves it."""

    clock_s = 0.0
    done_s = 0.0
    made = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing
        type(self).made += 1

    def record(self, stream: str) -> None:
        assert stream == "the current one"
        # Each record lies a second behind the one before, in the stream's order.
        type(self).clock_s += 1
        self.at_s = self.clock_s

    def query(self) -> bool:
        return self.at_s <= self.done_s

    def synchronize(self) -> None:
        type(self).done_s = max(self.done_s, self.at_s)

    def elapsed_time(self, end: "Event") -> float:
        assert end.query()
        return (end.at_s - self.at_s) * 1e3


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> type[Event]:
    class Fresh(Event):
        pass

    monkeypatch.setattr(torch.cuda, "Event", Fresh)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the current one")
    monkeypatch.setattr(stage_times._GpuSpan, "_spare", [])
    return Fresh


def test_nobody_waits_for_a_gpu_and_its_steps_are_told_in_order(gpu: type[Event]) -> None:
    steps: list[StageTime] = []
    runner = Runner(GPU)
    timer = StepTimer(runner, steps.append)  # type: ignore[arg-type]
    for rows in (1, 2, 3):
        runner.step(rows)
        timer.settle()
    assert steps == []
    gpu.done_s = 6.0  # Six events to a step: the first one is done.
    timer.settle()
    assert [step.tokens for step in steps] == [1]
    assert (steps[0].seconds, steps[0].head_seconds) == (1.0, 2.0)
    timer.finish()
    assert [step.tokens for step in steps] == [1, 2, 3]


def test_events_are_used_again(gpu: type[Event]) -> None:
    runner = Runner(GPU)
    timer = StepTimer(runner)  # type: ignore[arg-type]
    for _ in range(50):
        runner.step(1)
        gpu.done_s = gpu.clock_s
        timer.settle()
    assert gpu.made == 6


def test_the_record_has_the_sum_of_all_steps_and_the_last_one(
    own: RankRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    meter = StepMeter(own, 4_000, CPU)
    assert told(tmp_path)[Word.STEPS] == 0
    for tokens, seconds, head_s in ((10, 0.5, 0.25), (2, 0.125, 0.0625)):
        begun_s = meter.begins()
        assert told(tmp_path)[Word.CALL_BEGUN] == begun_s
        clock.now_s += 1.0
        meter.ends(begun_s, tokens)
        meter.computed(StageTime(tokens + 6, 0.0, seconds, head_s))
        begun_s = meter.begins()
        clock.now_s += 0.5
        meter.ends(begun_s)
    found = told(tmp_path)
    assert found[Word.STEPS] == 2
    assert found[Word.TOKENS] == 12
    assert found[Word.CALL_SECONDS] == 3.0
    assert found[Word.CALL_BEGUN] == 0
    assert found[Word.LAYERS_SECONDS] == 0.625
    assert found[Word.HEAD_SECONDS] == 0.3125
    assert found[Word.WEIGHT_READ_BYTES] == 8_000
    assert found[Word.LAST_TOKENS] == 2
    assert found[Word.LAST_LAYERS_SECONDS] == 0.125
    assert found[Word.LAST_HEAD_SECONDS] == 0.0625
    assert found[Word.LAST_WEIGHT_READ_BYTES_PER_SECOND] == 32_000


def test_what_is_read_is_not_told_where_it_is_not_known(own: RankRecord, tmp_path: Path) -> None:
    meter = StepMeter(own, None, CPU)
    meter.ends(meter.begins(), 1)
    meter.computed(StageTime(1, 0.0, 0.5, 0.0))
    missing = {Word.WEIGHT_READ_BYTES, Word.LAST_WEIGHT_READ_BYTES_PER_SECOND}
    assert not missing & told(tmp_path).keys()
    assert told(tmp_path)[Word.LAYERS_SECONDS] == 0.5


def test_a_gpu_is_asked_for_its_memory_once_a_second_at_most(
    own: RankRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def memory_stats(device: torch.device) -> dict[str, int]:
        asked.append(device)
        return {"allocated_bytes.all.current": 10 + len(asked), "reserved_bytes.all.current": 20}

    monkeypatch.setattr(torch.cuda, "memory_stats", memory_stats)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40, 100))
    now_s = [5.0]
    memory = GpuMemory(own, GPU, clock=lambda: now_s[0])
    for now_s[0] in (5.0, 5.5, 5.9, 6.1, 6.2):
        memory.look()
    assert asked == [GPU, GPU]
    found = told(tmp_path)
    assert found[Word.GPU_ALLOCATED_BYTES] == 12
    assert found[Word.GPU_RESERVED_BYTES] == 20
    assert found[Word.GPU_USED_BYTES] == 60
    assert found[Word.GPU_TOTAL_BYTES] == 100
