"""One reading of a server's metrics, and what changed since the reading before."""

from dataclasses import dataclass, field

from hetctl.top.machine_use import Use
from hetctl.top.samples import Samples

_OUTPUT_TOKENS = "vllm:generation_tokens_total"
_STEPS = "vllm_hetero_steps_total"


@dataclass(frozen=True)
class Reading:
    """What a server told, and when."""

    at_s: float
    """On a clock that only goes forward."""
    samples: Samples
    use: Use = field(default_factory=Use)
    """What this machine tells, where the server runs on it."""


@dataclass(frozen=True)
class Change:
    """Between two readings of one run of a server."""

    before: Samples
    now: Samples
    seconds: float

    def amount(self, counter: str) -> float | None:
        """By how much a counter grew, over all its series; None where there is none."""
        now = self.now.total(counter)
        # A series appears with its first count.
        return None if now is None else max(0.0, now - (self.before.total(counter) or 0.0))

    def rate(self, counter: str) -> float | None:
        """The same per second."""
        amount = self.amount(counter)
        return None if amount is None else amount / self.seconds

    def mean(self, histogram: str) -> float | None:
        """The mean of what a histogram was given; None if nothing."""
        total, count = self.amount(f"{histogram}_sum"), self.amount(f"{histogram}_count")
        return total / count if total is not None and count else None

    def of_rank(self, counter: str, rank: int) -> float | None:
        """By how much a rank's counter grew; None where it has none."""
        before, now = self.before.of_ranks(counter), self.now.of_ranks(counter)
        return max(0.0, now[rank] - before.get(rank, 0.0)) if rank in now else None


def change(before: Reading | None, now: Reading) -> Change | None:
    """What changed; None at the first reading, and where the server started anew in between."""
    if before is None or now.at_s <= before.at_s or _started_anew(before.samples, now.samples):
        return None
    return Change(before.samples, now.samples, now.at_s - before.at_s)


def _started_anew(before: Samples, now: Samples) -> bool:
    started = [samples.total("process_start_time_seconds") for samples in (before, now)]
    return started[0] != started[1] or any(
        (now.total(counter) or 0.0) < (before.total(counter) or 0.0)
        for counter in (_OUTPUT_TOKENS, _STEPS)
    )
