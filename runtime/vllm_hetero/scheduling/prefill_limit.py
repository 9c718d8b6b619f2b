"""How many prompt tokens a cycle may hold while requests decode.

The target is a time, so the limit follows from measured cycles: one that held ``p`` prompt
tokens and took ``t`` seconds of a target ``T`` allows ``p * T / t`` next. With a cycle of
``F + s * p`` (``F``: weights read and decodes) that converges on the chunk which takes
exactly ``T``, at the rate ``F / T``, and from below without overshoot: where the cost
grows no faster than the tokens, the next chunk cannot miss the target. Attention over a long
context grows faster; a chunk may then miss it by a little, and the next one is smaller.

The limits of different numbers of batches in flight are comparable: all take ``T``, so the
number with the largest limit gets a long prompt done first.
"""

from collections.abc import Sequence

# A step is bound by reading weights up to about this many rows: fewer take as long.
SMALLEST_CHUNK = 16
# Until anything is measured. At 8 ms a token, slower than any CPU stage seen, this is half a
# second; the first prompt of a server runs before anything decodes and is measured.
FIRST_CHUNK = 64
# Where the decodes alone take about the target or more, prompts still get this share of it
# per cycle, or they would never end.
LEAST_SHARE = 0.25
# A limit that was measured beside fewer decodes than this says too little.
MORE_DECODES = 1.25
# Decodes may take a part of a batch's room.
FULL = 0.9
# By how much a batch may exceed its limit to take the rest of a prompt: where the limit is short
# because each token takes long, so does the rest.
EXCESS = 0.125
# Cycles at the limit that a limit needs to converge, and after how many of the others it is
# taken as out of date.
TRIAL_CYCLES = 3
RETRY_CYCLES = 256
# A switch drains or refills the pipeline, so it must gain more than noise.
GAIN = 1.05


def within_limit(prompts: Sequence[int], limit: int) -> int:
    """Tokens of prompts for one batch: ``limit``, or a little more where next to nothing of a
    prompt would remain, which would cost a step of its own.

    Args:
        prompts: Tokens left of each, in the order in which they are taken.
        limit: Tokens.
    """
    taken = 0
    most_more = min(SMALLEST_CHUNK, int(limit * EXCESS))
    for tokens in prompts:
        room = limit - taken
        if tokens - room <= most_more and room > 0:
            taken += tokens
        else:
            return limit
    return taken


class PrefillLimit:
    """Prompt tokens per cycle such that it takes ``target_s``, for each number of batches
    in flight, 1 to ``most``."""

    def __init__(self, target_s: float, most: int) -> None:
        self.target_s = target_s
        self.most = most
        self._tokens: dict[int, int] = {}
        self._decodes: dict[int, int] = {}
        self._recent = 0
        self._full_cycles = dict.fromkeys(range(1, most + 1), 0)
        self._since_other = 0
        self._best = most

    def tokens(self, count: int, decodes: int = 0) -> int:
        """The limit for a cycle of ``count`` batches with ``decodes`` decoding requests."""
        if count == self._recent or (
            count in self._tokens and decodes <= MORE_DECODES * self._decodes[count]
        ):
            return self._tokens[count]
        # The same tokens take at most ``most`` times as long with another count: from one
        # extreme, all stages equal and full, to the other, all stages in turn.
        recent = self._tokens.get(self._recent, FIRST_CHUNK * self.most)
        return min(recent // self.most, self._tokens.get(count, recent))

    def best_count(self) -> int:
        """The number of batches in flight with which a long prompt is done first.

        Until all were tried, the largest that was not: vLLM's own way first.
        """
        for count in range(self.most, 0, -1):
            if self._full_cycles[count] < TRIAL_CYCLES:
                return count
        best = max(self._tokens, key=self._tokens.__getitem__)
        if self._tokens[best] > GAIN * self._tokens[self._best]:
            self._best = best
        return self._best

    def observe_alone(self, count: int, prefill_tokens: int, seconds: float) -> None:
        """A batch that no decode waited for, from its scheduling to its end: no less than it
        adds to a cycle, so the limit can only grow by it."""
        fitting = int(prefill_tokens * self.target_s / seconds)
        self._set(count, max(fitting, self.tokens(count)), decodes=0)

    def observe(
        self, count: int, prefill_tokens: int, seconds: float, decodes: int, decode_s: float
    ) -> None:
        """One cycle with ``prefill_tokens`` > 0 prompt tokens in ``seconds`` > 0, where the
        ``decodes`` alone would take ``decode_s`` (0 if unknown)."""
        target_s = max(self.target_s, decode_s + LEAST_SHARE * self.target_s)
        fitting = int(prefill_tokens * target_s / seconds)
        limit = self.tokens(count, decodes)
        full = prefill_tokens >= FULL * limit
        if full:
            self._count_full_cycle(count)
        # A prompt's short last chunk is mostly fixed cost: it says that more would have
        # taken too long only if it did so itself.
        if fitting > limit or full or seconds > target_s:
            limit = max(SMALLEST_CHUNK, fitting)
        self._set(count, limit, decodes)

    def _set(self, count: int, tokens: int, decodes: int) -> None:
        self._recent = count
        self._tokens[count] = tokens
        self._decodes[count] = decodes

    def _count_full_cycle(self, count: int) -> None:
        self._full_cycles[count] += 1
        self._since_other = self._since_other + 1 if count == self._best else 0
        if self._since_other >= RETRY_CYCLES:
            self._since_other = 0
            self._full_cycles = {c: TRIAL_CYCLES * (c == count) for c in self._full_cycles}
