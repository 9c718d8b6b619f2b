"""vLLM's scheduler and ours over the same simulated pipelines.

Times are simulated, so the comparisons are exact and the same on every machine.
"""

import random
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

pytest.importorskip("vllm")

from vllm.v1.core.sched.scheduler import Scheduler

from hetctl.model.tiny import write_tiny
from tests.runtime.scheduling.pipeline import Pipeline, Stream, stage
from vllm_hetero import env
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler

TARGET_S = env.DEFAULT_MAX_STALL_S
# 8 of 32 layers of an 8B model on 16 cores, and the other 24 on a GPU (docs/results).
GPU = stage(0.004, 0.00004)
CPU = stage(0.057, 0.0013)
# Bound by computing, as a socket with slow cores and fast memory.
COMPUTE = stage(0.01, 0.003)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scheduling") / "tiny"
    write_tiny(folder)
    return folder


@pytest.fixture(autouse=True)
def _v1_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "0")
    monkeypatch.delenv(env.MAX_STALL_S, raising=False)


def streams(
    count: int, every_s: float, prompt_tokens: int = 32, output_tokens: int = 300
) -> list[Stream]:
    return [Stream(f"r{i}", i * every_s, prompt_tokens, output_tokens) for i in range(count)]


def poisson(count: int, rate: float, seed: int = 1) -> list[Stream]:
    draw = random.Random(seed)
    arrives_s, made = 0.0, []
    for i in range(count):
        arrives_s += draw.expovariate(rate)
        made.append(Stream(f"r{i}", arrives_s, draw.randint(10, 400), draw.randint(20, 200)))
    return made


def served(pipeline: Pipeline, asked: list[Stream]) -> float:
    """Run to the end and check that all answers are whole and nothing is kept."""
    seconds = pipeline.run(asked)
    for stream in asked:
        if stream.abort_at_s == float("inf"):
            assert stream.tokens == stream.expected_tokens, stream.name
    pool = pipeline.scheduler.kv_cache_manager.block_pool
    assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1  # one is vLLM's null block
    if isinstance(pipeline.scheduler, HeterogeneousScheduler):
        assert not pipeline.scheduler._in_flight
    return seconds


def rows(pipeline: Pipeline) -> float:
    """Mean requests per batch in the middle of a run."""
    middle = pipeline.batches[len(pipeline.batches) // 3 : -len(pipeline.batches) // 3]
    return mean(len(batch) for batch in middle)


@pytest.mark.parametrize("stages", [[GPU, CPU], [CPU, GPU]], ids=["gpu-cpu", "cpu-gpu"])
def test_decodes_become_one_batch_where_weights_are_what_costs(
    model: Path, stages: list[object]
) -> None:
    """Prompts beyond one step's budget start in two batches, which vLLM never joins."""
    theirs, ours = (
        Pipeline(model, Scheduler, stages),
        Pipeline(model, HeterogeneousScheduler, stages),
    )
    vllm_s = served(theirs, streams(8, 0, prompt_tokens=400))
    seconds = served(ours, streams(8, 0, prompt_tokens=400))
    assert rows(theirs) == 4
    assert rows(ours) > 7.9
    assert vllm_s / seconds > 1.5


def test_requests_of_different_times_share_one_batch(model: Path) -> None:
    ours = Pipeline(model, HeterogeneousScheduler, [GPU, CPU])
    seconds = served(ours, streams(8, 0.3))
    assert rows(ours) > 7.9
    # vLLM keeps these whole too: it is not asked for a batch while the only one is in
    # flight. What trying two batches costs is little.
    assert seconds < 1.01 * served(Pipeline(model, Scheduler, [GPU, CPU]), streams(8, 0.3))


@pytest.mark.parametrize("every_s", [0, 0.05], ids=["together", "staggered"])
@pytest.mark.parametrize("stages", [2, 3])
def test_balanced_stages_that_compute_get_a_batch_each(
    model: Path, stages: int, every_s: float
) -> None:
    theirs = Pipeline(model, Scheduler, [COMPUTE] * stages)
    ours = Pipeline(model, HeterogeneousScheduler, [COMPUTE] * stages)
    vllm_s = served(theirs, streams(30, every_s))
    seconds = served(ours, streams(30, every_s))
    assert rows(ours) == pytest.approx(30 / stages, abs=0.5)
    assert vllm_s / seconds > 1.6


@pytest.mark.parametrize(
    ("stages", "least_share"),
    [([GPU, CPU], 0.96), ([COMPUTE, COMPUTE], 1.0), ([CPU], 0.99)],
    ids=["gpu-cpu", "balanced", "one stage"],
)
def test_a_long_prompt_stalls_nobody_beyond_the_target(
    model: Path, stages: list[object], least_share: float
) -> None:
    def load() -> list[Stream]:
        return [*streams(4, 0.3), Stream("long", 6, 8000, 20)]

    theirs, ours = load(), load()
    vllm_s = served(Pipeline(model, Scheduler, stages), theirs)
    seconds = served(Pipeline(model, HeterogeneousScheduler, stages), ours)

    def longest_gap_s(asked: list[Stream]) -> float:
        return max(max(stream.gaps_s()) for stream in asked[:4])

    assert longest_gap_s(theirs) > 5 * TARGET_S
    assert longest_gap_s(ours) < 1.2 * TARGET_S
    # Shorter chunks read the weights more often; that is their price.
    assert vllm_s / seconds > least_share
    assert ours[4].token_times_s[0] - 6 < 1.3 * (theirs[4].token_times_s[0] - 6)


def test_without_decodes_a_prompt_gets_the_full_budget(model: Path) -> None:
    pipeline = Pipeline(model, HeterogeneousScheduler, [GPU, CPU])
    served(pipeline, [Stream("long", 0, 8000, 2)])
    assert [sum(batch.values()) for batch in pipeline.batches[:4]] == [2048, 2048, 2048, 1856]


def test_the_target_can_be_set_and_turned_off(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps_s = []
    for value in ("2", "0"):
        monkeypatch.setenv(env.MAX_STALL_S, value)
        asked = [*streams(4, 0.3), Stream("long", 6, 8000, 20)]
        served(Pipeline(model, HeterogeneousScheduler, [GPU, CPU]), asked)
        gaps_s.append(max(max(stream.gaps_s()) for stream in asked[:4]))
    assert TARGET_S < gaps_s[0] < 2.2
    assert gaps_s[1] > 2.5


@pytest.mark.parametrize("max_num_seqs", [16, 256])
@pytest.mark.parametrize("stages", [[GPU, CPU], [COMPUTE, COMPUTE]], ids=["gpu-cpu", "balanced"])
def test_under_load_all_get_on_and_throughput_is_kept(
    model: Path, stages: list[object], max_num_seqs: int
) -> None:
    theirs, ours = poisson(100, rate=1.2), poisson(100, rate=1.2)
    vllm_s = served(Pipeline(model, Scheduler, stages, max_num_seqs=max_num_seqs), theirs)
    pipeline = Pipeline(model, HeterogeneousScheduler, stages, max_num_seqs=max_num_seqs)
    seconds = served(pipeline, ours)
    assert vllm_s / seconds > 0.97
    assert max(max(stream.gaps_s()) for stream in ours) < 1.6 * TARGET_S
    # First come, first served, up to requests that share a batch.
    firsts = [stream.token_times_s[0] for stream in ours]
    assert all(a <= b for a, b in pairwise(firsts))
    # Waiting for a batch in flight is a step that starts none: at most one for each.
    assert pipeline.steps < 3 * len(pipeline.batches)


def test_a_noisy_machine_still_gets_one_batch(model: Path) -> None:
    noise = random.Random(3)
    ours = Pipeline(
        model,
        HeterogeneousScheduler,
        [GPU, CPU],
        noise=lambda: noise.lognormvariate(0, 0.15) + (5 if noise.random() < 0.01 else 0),
    )
    served(ours, streams(8, 0, prompt_tokens=400))
    assert rows(ours) > 7.5


def test_stages_that_share_cores_get_one_batch(model: Path) -> None:
    ours = Pipeline(model, HeterogeneousScheduler, [CPU, CPU], shared=True)
    served(ours, streams(8, 0, prompt_tokens=400))
    assert rows(ours) > 7.9


@pytest.mark.parametrize("policy", ["fcfs", "priority"])
@pytest.mark.parametrize("stages", [[GPU, CPU], [COMPUTE] * 3], ids=["gpu-cpu", "balanced"])
def test_scarce_memory_and_aborts_lose_no_token(
    model: Path, stages: list[object], policy: str
) -> None:
    """KV blocks for about five of sixteen requests, so that they preempt each other, prompts
    with a common prefix, and requests that go at any time, in flight or waiting."""
    draw = random.Random(5)
    asked = [
        Stream(f"r{i}", 0.2 * i, 64, 250, shared_prefix=draw.choice([0, 48])) for i in range(16)
    ]
    for stream in asked[::3]:
        stream.abort_at_s = stream.arrives_s + draw.uniform(0, 8)
    pipeline = Pipeline(model, HeterogeneousScheduler, stages, blocks=100, policy=policy)
    served(pipeline, asked)
    assert pipeline.preempted


@pytest.mark.parametrize("prompt_tokens", [4, 16])
def test_short_prompts_are_not_cut_into_pieces_that_cost_a_step_each(
    model: Path, prompt_tokens: int
) -> None:
    """On stages so slow that the target leaves next to no room beside the decodes."""
    slow = [stage(0.004, 0.00004), stage(0.45, 0.008)]
    running = streams(4, 0, output_tokens=120)
    late = [Stream(f"late{i}", 20, prompt_tokens, 20) for i in range(8)]
    pipeline = Pipeline(model, HeterogeneousScheduler, slow)
    served(pipeline, [*running, *late])
    pieces = {
        stream.name: [batch[stream.name] for batch in pipeline.batches if stream.name in batch]
        for stream in late
    }
    prompts = [
        found[: 1 + len(found) - stream.output_tokens]
        for stream, found in zip(late, pieces.values(), strict=True)
    ]
    assert prompts == [[prompt_tokens]] * len(late)
    # Nor do they wait until those that run are done.
    assert max(stream.token_times_s[0] for stream in late) < running[0].token_times_s[-1]


def test_prompts_that_may_not_be_divided_are_not(model: Path) -> None:
    pipeline = Pipeline(model, HeterogeneousScheduler, [GPU, CPU])
    config = pipeline.scheduler.scheduler_config
    config.enable_chunked_prefill = False
    try:
        pipeline = Pipeline(model, HeterogeneousScheduler, [GPU, CPU])
        served(pipeline, [*streams(4, 0.3), Stream("long", 6, 2000, 20)])
    finally:
        config.enable_chunked_prefill = True
    assert max(batch.get("long", 0) for batch in pipeline.batches) == 2000


def test_prompts_in_front_of_decodes_leave_them_their_part(model: Path) -> None:
    """With a threshold of the user's, several long prompts are in work at once, and requests
    that came after them decode behind them."""
    config = Pipeline(model, HeterogeneousScheduler, [GPU, CPU]).scheduler.scheduler_config
    config.long_prefill_token_threshold = 600
    long = [Stream(f"long{i}", 0, 7000, 4) for i in range(3)]
    short = [Stream(f"r{i}", 0.1, 32, 30) for i in range(4)]
    try:
        served(Pipeline(model, HeterogeneousScheduler, [GPU, CPU]), [*long, *short])
    finally:
        config.long_prefill_token_threshold = 0
    assert short[-1].token_times_s[-1] < long[0].token_times_s[0]
    assert max(max(stream.gaps_s()) for stream in short) < 2 * TARGET_S


def test_a_prompt_that_finds_no_memory_does_not_divide_the_decodes(model: Path) -> None:
    """Here one batch is better for decodes and two are for long prompts."""
    stages = [stage(0.05, 0.0004), stage(0.004, 0.001)]
    asked = [*streams(8, 0, prompt_tokens=400), Stream("long", 2, 3000, 20)]
    pipeline = Pipeline(model, HeterogeneousScheduler, stages, blocks=360)
    served(pipeline, asked)
    assert asked[8].token_times_s[0] > asked[0].token_times_s[-1]
    assert rows(pipeline) > 7.9


def test_limits_are_vllms_own_again_after_each_call(model: Path) -> None:
    pipeline = Pipeline(model, HeterogeneousScheduler, [GPU, CPU])
    served(pipeline, [*streams(4, 0.3), Stream("long", 6, 4000, 20)])
    assert pipeline.scheduler.max_num_scheduled_tokens == 2048
    assert pipeline.scheduler.scheduler_config.long_prefill_token_threshold == 0
