"""When a server that failed is started again, and when no more."""

from dataclasses import dataclass, field

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
STEADY_S = 600.0
"""A server that was ready for so long has recovered; what it fails of then is something new."""


@dataclass
class Restarts:
    """Counts failures in a row: 1 s before the first new start, then twice as long each time."""

    limit: int
    """Failures in a row after which it stays ended; 0 for no limit."""
    failures: int = field(default=0, init=False)

    def pause_s(self, was_ready_s: float) -> float | None:
        """Seconds to wait before the next start, or None: it has failed too often.

        Args:
            was_ready_s: How long the server that failed had been ready; 0 if it never was.
        """
        self.failures = 1 if was_ready_s >= STEADY_S else self.failures + 1
        if self.limit and self.failures > self.limit:
            return None
        # As few doublings as reach the longest: 2.0 ** 2000 is no number.
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, 30))
