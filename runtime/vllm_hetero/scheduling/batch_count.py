"""How many batches to keep in flight, from measured cycle times.

A *cycle* is the time between two tokens of a running request, in which ``count`` batches
leave the pipeline with ``tokens`` tokens (decodes and prompt tokens) between them. For a
pipeline whose stage i takes ``a_i + b_i * tokens``, with bottleneck m,

    one batch:      sum of all a_i + b_i * tokens
    count batches:  count * a_m + b_m * tokens      (when it is the longest)

so splitting pays only where reading the bottleneck's weights again, ``a_m``, costs less
than all that the other stages would otherwise do while it waits: never for a few decodes
on a CPU stage beside a GPU stage, nearly always for balanced stages that are bound by
compute. Neither ``a`` nor ``b`` is visible in the scheduler's process, but the cycle is: no
model of stages, hops or shared cores is needed, and both alternatives are compared at
the same work. What is not measured is tried for a few cycles.
"""

from collections import deque
from dataclasses import dataclass, field
from statistics import median_low

import numpy as np

TRIAL_CYCLES = 3
KEPT_CYCLES = 5
# A loser is tried again after so many cycles, as contexts grow and machines change: at
# most 3 cycles in 512 are spent on what is slower.
RETRY_CYCLES = 512
# Calls that wait for a measurement, before it is taken as one that cannot be had (one
# request alone cannot be split in two).
PATIENCE = 64
# A switch drains or refills the pipeline, so it must gain more than noise.
GAIN = 0.95


@dataclass
class _Arm:
    """What is known of one count, for batches of one octave of tokens."""

    cycles: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=KEPT_CYCLES))
    asked: int = 0
    stale_at: int = RETRY_CYCLES

    @property
    def known(self) -> bool:
        return len(self.cycles) >= TRIAL_CYCLES


class BatchCount:
    """Chooses the number of batches in flight, 1 to ``most``. Deterministic, given the times.

    Memory: at most ``KEPT_CYCLES`` cycles for each count and octave of tokens.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._arms: dict[tuple[int, int], _Arm] = {}
        self._observed = 0
        self._last = most

    def observe(self, count: int, tokens: int, seconds: float) -> None:
        """One cycle, in which ``count`` batches in flight did ``tokens`` tokens in all."""
        self._observed += 1
        arm = self._arm(count, tokens)
        arm.cycles.append((seconds, tokens))
        arm.asked = 0
        arm.stale_at = self._observed + RETRY_CYCLES

    def choose(self, tokens: int) -> int:
        """The count to aim at when a cycle would do ``tokens`` tokens.

        Untried counts come first, the largest of all before: that is what vLLM does.
        """
        for count in range(self.most, 0, -1):
            if self._wants_trial(self._arm(count, tokens)):
                self._last = count
                return count
        times = {
            count: seconds
            for count in range(1, self.most + 1)
            if (seconds := self.cycle_s(count, tokens)) is not None
        }
        if not times:
            return self.most
        best = min(times, key=times.__getitem__)
        if self._last not in times or times[best] < GAIN * times[self._last]:
            self._last = best
        return self._last

    def cycle_s(self, count: int, tokens: int) -> float | None:
        """Expected cycle time in seconds, or None where nothing of about this size was seen.

        Between the median cycles of neighbouring octaves the time is taken as linear.
        """
        if not self._arm(count, tokens).known:
            return None
        medians = [
            median_low(arm.cycles)
            for (of, _), arm in sorted(self._arms.items())
            if of == count and arm.known
        ]
        return float(np.interp(tokens, [t for _, t in medians], [s for s, _ in medians]))

    def _arm(self, count: int, tokens: int) -> _Arm:
        octave = (tokens - 1).bit_length()
        return self._arms.setdefault((count, octave), _Arm())

    def _wants_trial(self, arm: _Arm) -> bool:
        if self._observed >= arm.stale_at:
            arm.cycles.clear()
            arm.asked = 0
            arm.stale_at = self._observed + RETRY_CYCLES
        if arm.known or arm.asked > PATIENCE:
            return False
        arm.asked += 1
        return True
