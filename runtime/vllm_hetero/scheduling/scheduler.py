"""vLLM's scheduler, told how much to put into a batch and when to wait.

What vLLM 0.26 does with N pipeline stages: the engine core keeps up to N batches in
flight and asks for a new one whenever fewer are (``EngineCore.step_with_batch_queue``). A
request whose token is in flight is not ready. So requests that are in different batches, by
a token budget that their prompts exceeded or a long prompt's chunks, stay there for ever,
and each batch reads all weights: where a CPU stage is bound by that, N batches take N times
as long as one with all requests in it. (New requests do join a single batch: the engine
core is blocked on it when they come.) And requests that share a batch stay together for
ever, so that balanced stages idle in turn.

What is decided here at each call, from measured times only:

* **How many batches** (:mod:`.batch_count`). Where fewer are better than are in flight, the
  answer is an empty batch. The engine core then blocks until the oldest batch is done, as it
  does whenever nothing is ready, and asks again: nothing spins, and when the pipeline has
  drained to the chosen count, all that is ready goes into one batch. Where more are
  better, the ready decodes are divided by the token budget.
* **How many prompt tokens** (:mod:`.prefill_limit`) while other requests decode.

Prompts and decodes share batches, as in vLLM. A separate prefill batch beside a decode batch
holds the same tokens per cycle as two mixed ones, so it is the same question as above:
is the cycle of these tokens shorter with one batch or with several in flight? Mixing divides
the work evenly, which a separate batch cannot. When nothing decodes, vLLM's own way is
kept: chunks are as long as the token budget allows, so weights are read equally often with any
number in flight, and overlap costs nothing.

All limits go through attributes that ``Scheduler.schedule`` reads; which requests fill the
budget, caching, preemption and encoder inputs stay vLLM's.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput

from vllm_hetero import env
from vllm_hetero.log import get_logger
from vllm_hetero.scheduling.batch_count import BatchCount
from vllm_hetero.scheduling.prefill_limit import (
    LEAST_SHARE,
    SMALLEST_CHUNK,
    PrefillLimit,
    within_limit,
)

logger = get_logger(__name__)


@dataclass(slots=True)
class _Batch:
    """A batch between its scheduling and the time at which it is forgotten."""

    output: SchedulerOutput
    scheduled_s: float
    prefill_tokens: int
    sampling: frozenset[str]
    """Requests that get a token from it, and so wait for it."""
    crowd: int
    """The most batches in flight at any time of its life."""
    done_s: float = 0.0

    @property
    def tokens(self) -> int:
        return self.output.total_num_scheduled_tokens

    def continues(self, earlier: "_Batch") -> bool:
        """Whether a request in it had its previous token from ``earlier``."""
        return not earlier.sampling.isdisjoint(self.output.num_scheduled_tokens)


@dataclass(slots=True)
class _Demand:
    """What could be scheduled now, in tokens."""

    decoding: int = 0
    """Requests past their prompt, in flight or not."""
    ready: int = 0
    """Tokens of those that are not in flight."""
    prefilling: int = 0
    """Requests with a part of their prompt done."""
    prompts: list[int] = field(default_factory=list)
    """Tokens left of each prompt in the order in which vLLM takes them, no more of them than
    one batch can hold."""


class HeterogeneousScheduler(Scheduler):
    """Chooses how many batches are in flight and how long prompt chunks are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock: Callable[[], float] = time.monotonic
        self._batch_count = BatchCount(self.vllm_config.max_concurrent_batches)
        stall_s = env.max_stall_s()
        # A prompt that may not be divided cannot be held to a time.
        divisible = (
            self.scheduler_config.enable_chunked_prefill
            and not self.scheduler_config.disable_chunked_mm_input
        )
        self._prefill_limit = (
            PrefillLimit(stall_s, self._batch_count.most)
            if math.isfinite(stall_s) and divisible
            else None
        )
        self._in_flight: deque[_Batch] = deque()
        self._done: deque[_Batch] = deque(maxlen=self._batch_count.most)
        self._held_since_s: float | None = None
        # The last batch had room for a waiting request, yet none could be admitted.
        self._blocked = False
        logger.info("Scheduler: %s", self._describe())

    def _describe(self) -> str:
        most = self._batch_count.most
        count = "one batch in flight"
        if most > 1:
            count = f"1 to {most} batches in flight, whichever gives the shorter step"
        stall = "prompts are not held to a time"
        if self._prefill_limit:
            stall = f"prompts stall running requests for {self._prefill_limit.target_s:g} s at most"
        return f"{count}; {stall} ({env.SCHEDULER}=vllm for vLLM's own)"

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """vLLM's next batch under our limits, or an empty one to wait for those in flight."""
        demand = self._demand()
        budget, chunk = self._limits(demand)
        with self._held_to(budget, chunk):
            output = super().schedule(throttle_prefills)
        if output.total_num_scheduled_tokens:
            admitted = output.scheduled_new_reqs or output.scheduled_cached_reqs.resumed_req_ids
            room = budget > output.total_num_scheduled_tokens
            self._blocked = room and not admitted and bool(self.waiting or self.skipped_waiting)
            self._launch(output)
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """vLLM's, after the batch's time is taken."""
        if self._in_flight and self._in_flight[0].output is scheduler_output:
            batch = self._in_flight.popleft()
            batch.done_s = self.clock()
            self._learn(batch)
            self._done.append(batch)
        return super().update_from_output(scheduler_output, model_runner_output)

    def _demand(self) -> _Demand:
        demand = _Demand()
        for request in self.running:
            tokens = request.num_tokens_with_spec - request.num_computed_tokens
            if request.is_prefill_chunk:
                demand.prefilling += 1
                demand.prompts.append(tokens)
            else:
                demand.decoding += 1
                demand.ready += max(tokens, 0)
        places = self.max_num_running_reqs - len(self.running)
        counted = sum(demand.prompts)
        for request in islice(chain(self.waiting, self.skipped_waiting), max(places, 0)):
            if counted >= self.max_num_scheduled_tokens:
                break
            demand.prompts.append(request.num_tokens - request.num_computed_tokens)
            counted += demand.prompts[-1]
        return demand

    def _limits(self, demand: _Demand) -> tuple[int, int]:
        """Token budget of the next batch, and the most tokens of one prompt in it.

        A budget of 0 waits for the batches in flight.
        """
        budget = self.max_num_scheduled_tokens
        if not demand.decoding or not (demand.ready or demand.prompts):
            return budget, budget
        count = self._choose_count(demand)
        if len(self._in_flight) >= count:
            if demand.ready and self._held_since_s is None:
                self._held_since_s = self.clock()
            return 0, 0
        decodes = min(demand.ready, -(-demand.decoding // count))
        surplus = demand.ready - decodes
        limit = self._prompt_limit(count, demand.decoding)
        prompts = within_limit(demand.prompts, limit)
        if surplus and not demand.prefilling and 0 < prompts < SMALLEST_CHUNK + surplus:
            # vLLM would take all decodes first and leave the prompts a piece that gains nothing.
            # The next batch, which is asked for at once, has the rest and the prompts.
            return min(budget, decodes), budget
        # Prompts come before decodes where they were admitted before them; so that
        # they cannot take all of the budget, they share the prompts' part of it.
        share = max(SMALLEST_CHUNK, prompts // max(1, demand.prefilling))
        return min(budget, decodes + prompts), share if prompts else budget

    def _choose_count(self, demand: _Demand) -> int:
        """How many batches shall be in flight."""
        count = self._batch_count.choose(demand.decoding)
        blocked = self._blocked and not demand.prefilling
        if not self._prefill_limit or blocked:
            return count
        if sum(demand.prompts) > self._prefill_limit.tokens(count, demand.decoding):
            return self._prefill_limit.best_count()
        return count

    def _prompt_limit(self, count: int, decodes: int) -> int:
        """Prompt tokens for each of ``count`` batches in flight, beside ``decodes`` requests.

        Decodes that were held back for a batch in flight have had a part of their wait.
        """
        if not self._prefill_limit:
            return self.max_num_scheduled_tokens
        tokens = self._prefill_limit.tokens(count, decodes)
        if self._held_since_s is not None:
            left = 1 - (self.clock() - self._held_since_s) / self._prefill_limit.target_s
            tokens = int(tokens * max(left, LEAST_SHARE))
        return max(SMALLEST_CHUNK, -(-tokens // count))

    @contextmanager
    def _held_to(self, budget: int, chunk: int) -> Iterator[None]:
        own_budget = self.max_num_scheduled_tokens
        own_threshold = self.scheduler_config.long_prefill_token_threshold
        self.max_num_scheduled_tokens = budget
        if 0 < chunk < (own_threshold or own_budget):
            self.scheduler_config.long_prefill_token_threshold = chunk
        try:
            yield
        finally:
            self.max_num_scheduled_tokens = own_budget
            self.scheduler_config.long_prefill_token_threshold = own_threshold

    def _launch(self, output: SchedulerOutput) -> None:
        self._held_since_s = None
        crowd = len(self._in_flight) + 1
        for batch in self._in_flight:
            batch.crowd = max(batch.crowd, crowd)
        batch = _Batch(
            output,
            self.clock(),
            # One row of a prompt costs what a decode's row costs.
            prefill_tokens=sum(n for n in output.num_scheduled_tokens.values() if n > 1),
            sampling=frozenset(
                request
                for request in output.num_scheduled_tokens
                if not self.requests[request].is_prefill_chunk
            ),
            crowd=crowd,
        )
        self._in_flight.append(batch)
        logger.debug(
            "Batch of %d tokens, %d of prompts; %d in flight",
            batch.tokens,
            batch.prefill_tokens,
            crowd,
        )

    def _learn(self, batch: _Batch) -> None:
        """Take the cycle that ends with ``batch``.

        It began when the batch was done that its requests had waited for. It says what
        a number of batches costs only where that number was in flight all along; how long
        the requests waited for their token it says in any case.
        """
        cycle = [batch]
        for earlier in reversed(self._done):
            if batch.continues(earlier):
                break
            cycle.append(earlier)
        else:
            if batch.prefill_tokens and self._prefill_limit:
                self._prefill_limit.observe_alone(
                    batch.crowd, batch.prefill_tokens, batch.done_s - batch.scheduled_s
                )
            return
        seconds = batch.done_s - earlier.done_s
        self._learn_prefill(cycle, seconds)
        count = len(cycle)
        decodes_only = not any(b.prefill_tokens for b in cycle)
        if decodes_only and all(b.crowd == count for b in (*cycle, earlier)):
            self._batch_count.observe(count, sum(b.tokens for b in cycle), seconds)

    def _learn_prefill(self, cycle: list[_Batch], seconds: float) -> None:
        prefill_tokens = sum(b.prefill_tokens for b in cycle)
        if not prefill_tokens or not self._prefill_limit:
            return
        count = max(b.crowd for b in cycle)
        decodes = sum(b.tokens for b in cycle) - prefill_tokens
        decode_s = self._batch_count.cycle_s(count, decodes) if decodes else None
        self._prefill_limit.observe(count, prefill_tokens, seconds, decodes, decode_s or 0.0)
