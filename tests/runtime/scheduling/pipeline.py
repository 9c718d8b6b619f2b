"""vLLM's scheduler and engine loop over a pipeline whose stages take simulated time.

``Scheduler`` and ``EngineCore.step_with_batch_queue`` are vLLM's own; what is simulated is the
executor, whose futures turn the clock forward instead of waiting.
"""

import queue
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, ParallelConfig, VllmConfig
from vllm.config.scheduler import SchedulerConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine.core import EngineCore
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

BLOCK_SIZE = 16
# EngineCoreProc sleeps so long after a step that started no batch.
IDLE_SLEEP_S = 0.001
# From the engine to the first rank and from the last rank back.
CALL_S = 0.0002

Stage = Callable[[int], float]


def stage(fixed_s: float, per_token_s: float) -> Stage:
    """A stage that reads its weights in ``fixed_s`` and adds ``per_token_s`` for each token."""
    return lambda tokens: fixed_s + per_token_s * tokens


@dataclass
class Stream:
    """One request: when it comes, and what became of it."""

    name: str
    arrives_s: float
    prompt_tokens: int
    output_tokens: int
    shared_prefix: int = 0
    abort_at_s: float = float("inf")
    token_times_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    finished: bool = False

    def gaps_s(self, after_s: float = 0.0) -> list[float]:
        """Times between tokens, of those that came later than ``after_s``."""
        times = [t for t in self.token_times_s if t > after_s]
        return [b - a for a, b in pairwise(times)]

    @property
    def expected_tokens(self) -> list[int]:
        first = self.prompt_tokens
        return [token_after(self.name, first + i) for i in range(self.output_tokens)]


def token_after(name: str, position: int) -> int:
    """The token that the simulated model puts at ``position`` of a request."""
    return 10 + (zlib.crc32(name.encode()) + position * 7919) % 200


@cache
def vllm_config(
    model: Path, stages: int, max_num_seqs: int, max_batched_tokens: int, policy: str
) -> VllmConfig:
    length = 16384
    return VllmConfig(
        model_config=ModelConfig(
            model=str(model),
            dtype="float32",
            max_model_len=length,
            hf_overrides={"max_position_embeddings": length},
        ),
        parallel_config=ParallelConfig(
            pipeline_parallel_size=stages, distributed_executor_backend="mp"
        ),
        scheduler_config=SchedulerConfig.default_factory(
            max_model_len=length,
            max_num_batched_tokens=max_batched_tokens,
            max_num_seqs=max_num_seqs,
            async_scheduling=False,
            policy=policy,
        ),
        cache_config=CacheConfig(block_size=BLOCK_SIZE, enable_prefix_caching=True),
        device_config=DeviceConfig("cpu"),
    )


class Pipeline:
    """Stages in a row, each with a queue, and the engine that feeds them.

    Args:
        scheduler_cls: the scheduler under test.
        stages: seconds that each stage takes for a batch, as a function of its tokens.
        shared: all stages take turns on the same cores.
    """

    def __init__(
        self,
        model: Path,
        scheduler_cls: type[Scheduler],
        stages: list[Stage],
        *,
        blocks: int = 8192,
        max_num_seqs: int = 256,
        max_batched_tokens: int = 2048,
        policy: str = "fcfs",
        shared: bool = False,
        noise: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self.now_s = 0.0
        self.stages, self.noise = stages, noise
        self.free_at_s = [0.0] * (1 if shared else len(stages))
        self.shared = shared
        self.batches: list[dict[str, int]] = []
        self.preempted: list[str] = []
        self.steps = 0
        config = vllm_config(model, len(stages), max_num_seqs, max_batched_tokens, policy)
        config.cache_config.num_gpu_blocks = blocks
        init_none_hash(sha256)
        self.hasher = get_request_block_hasher(BLOCK_SIZE, sha256)
        spec = FullAttentionSpec(
            block_size=BLOCK_SIZE, num_kv_heads=1, head_size=1, dtype=torch.float32
        )
        self.scheduler = scheduler_cls(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK_SIZE,
            hash_block_size=BLOCK_SIZE,
            log_stats=True,
        )
        if hasattr(self.scheduler, "clock"):
            self.scheduler.clock = lambda: self.now_s
        self.core = self._engine_core(config)

    def _engine_core(self, config: VllmConfig) -> EngineCore:
        core: Any = object.__new__(EngineCore)
        core.vllm_config, core.scheduler, core.model_executor = config, self.scheduler, self
        core.batch_queue_size = config.max_concurrent_batches
        several = core.batch_queue_size > 1
        core.batch_queue = deque(maxlen=core.batch_queue_size) if several else None
        core.step_fn = core.step_with_batch_queue if several else core.step
        core.is_ec_consumer, core.is_pooling_model = True, False
        core.check_for_draft_tokens, core.log_stats = False, True
        core.aborts_queue = queue.Queue()
        core.log_error_detail = lambda output: nullcontext()
        return core

    # What EngineCore asks of an executor.

    def execute_model(self, output: SchedulerOutput, non_block: bool) -> "Future[Any]":
        assert non_block
        tokens = output.total_num_scheduled_tokens
        self.preempted += output.preempted_req_ids or ()
        at_s = self.now_s + CALL_S / 2
        if tokens == 0:
            self.sampled = _SimulatedFuture(self, self._last_done(at_s), EMPTY_MODEL_RUNNER_OUTPUT)
            return self.sampled
        self.batches.append(dict(output.num_scheduled_tokens))
        jitter = self.noise()
        for i, stage in enumerate(self.stages):
            place = 0 if self.shared else i
            at_s = max(at_s, self.free_at_s[place]) + stage(tokens) * jitter
            self.free_at_s[place] = at_s
        self.sampled = _SimulatedFuture(self, at_s + CALL_S / 2, self._sample(output))
        return _SimulatedFuture(self, at_s, None)

    def sample_tokens(self, grammar: object, non_block: bool = False) -> Any:
        return self.sampled if non_block else self.sampled.result()

    def _last_done(self, at_s: float) -> float:
        return max(at_s, *self.free_at_s) + CALL_S / 2

    def _sample(self, output: SchedulerOutput) -> ModelRunnerOutput:
        names = list(output.num_scheduled_tokens)
        sampled = []
        for name in names:
            request = self.scheduler.requests[name]
            at = request.num_computed_tokens
            sampled.append([] if request.is_prefill_chunk else [token_after(name, at)])
        return ModelRunnerOutput(names, {n: i for i, n in enumerate(names)}, sampled)

    # The run.

    def run(self, streams: list[Stream], until_s: float = 1e3) -> float:
        """Serve all streams; returns the time at which the last one ended."""
        by_name = {stream.name: stream for stream in streams}
        coming = deque(sorted(streams, key=lambda s: s.arrives_s))
        while coming or self.scheduler.has_requests() or self.core.batch_queue:
            assert self.now_s < until_s, f"not done after {until_s} s"
            while coming and coming[0].arrives_s <= self.now_s:
                self.scheduler.add_request(self._request(coming.popleft()))
            for stream in streams:
                if stream.abort_at_s <= self.now_s and not stream.finished:
                    stream.finished = True
                    self.core.aborts_queue.put([stream.name])
                    self.core._process_aborts_queue()
            if not (self.scheduler.has_requests() or self.core.batch_queue):
                if coming:
                    self.now_s = max(self.now_s, coming[0].arrives_s)
                continue
            self.steps += 1
            outputs, executed = self.core.step_fn()
            for output in (outputs or {}).values():
                for one in output.outputs:
                    stream = by_name[one.request_id]
                    stream.tokens += one.new_token_ids
                    stream.token_times_s += [self.now_s] * len(one.new_token_ids)
                    stream.finished |= one.finish_reason is not None
            if not executed and self.scheduler.has_requests():
                self.now_s += IDLE_SLEEP_S
        return self.now_s

    def _request(self, stream: Stream) -> Request:
        own = [token_after(stream.name, i) for i in range(stream.prompt_tokens)]
        prefix = [token_after("prefix", i) for i in range(stream.shared_prefix)]
        return Request(
            request_id=stream.name,
            prompt_token_ids=prefix + own[len(prefix) :],
            sampling_params=SamplingParams(max_tokens=stream.output_tokens, ignore_eos=True),
            pooling_params=None,
            arrival_time=stream.arrives_s,
            block_hasher=self.hasher,
        )


class _SimulatedFuture(Future):  # type: ignore[type-arg]
    """Known at once; asking for it turns the clock forward to when it would be there."""

    def __init__(self, pipeline: Pipeline, done_s: float, value: object) -> None:
        super().__init__()
        self.pipeline, self.done_s = pipeline, done_s
        self.set_result(value)

    def result(self, timeout: float | None = None) -> Any:
        self.pipeline.now_s = max(self.pipeline.now_s, self.done_s)
        return super().result(timeout)
