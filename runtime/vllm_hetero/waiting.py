"""How a rank waits for another process on the same host."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vllm_hetero import activity

LIVENESS_S = 1.0
"""How often a waiting rank looks whether the other process still lives."""


@dataclass(frozen=True)
class Patience:
    """How an end waits. In seconds.

    Attributes:
        spin_s: How long it looks without a pause, from the moment at which recent waits
            tell that the end is near.
        sleep_s: Pause between two looks before and after that.
    """

    spin_s: float
    sleep_s: float


# A rank waits for another only while a batch is in flight, so a CPU rank may stay busy: the
# core is its own, and its other threads have nothing to do either. A GPU rank waits through
# the CPU stage's compute and must leave the cores to it.
CPU_RANK = Patience(spin_s=5e-3, sleep_s=50e-6)
GPU_RANK = Patience(spin_s=1e-3, sleep_s=20e-6)
_RECENT_WAITS = 8
_MARGIN_S = 300e-6
"""Before the expected end of a wait at which spinning starts: steps vary by about as much."""


class PeerGoneError(RuntimeError):
    """The process that was waited for has ended."""


class Waiter:
    """Waits for one thing again and again: asleep at first, busy when the time is near.

    Decode steps take nearly the same time each, so the shortest of the last waits tells when
    to wake up: sleeping would add its own latency to each hop, spinning all the time would
    take a core from the rank that is waited for.

    Args:
        patience: How to wait.
        peer_pid: Process id of the one that is waited for, or 0 while it is not known yet.
        peer: What to call it when it has ended.
    """

    def __init__(self, patience: Patience, peer_pid: Callable[[], int], peer: str) -> None:
        self._patience = patience
        self._peer_pid = peer_pid
        self._peer = peer
        self._recent: deque[float] = deque(maxlen=_RECENT_WAITS)

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready()``, a cheap look at memory that the peer writes.

        Raises:
            PeerGoneError: the peer ended, and ``ready()`` is still false.
        """
        if ready():
            self._recent.append(0.0)
            return
        started = checked = time.perf_counter()
        spin_from = started + max(0.0, min(self._recent, default=0.0) - _MARGIN_S)
        spin_until = spin_from + self._patience.spin_s
        noted: activity.Activity | None = None
        try:
            while not ready():
                now = time.perf_counter()
                if spin_from <= now < spin_until:
                    continue
                time.sleep(self._patience.sleep_s)
                if now - checked > LIVENESS_S:
                    checked = now
                    # Only a long wait is noted, so that a short one costs nothing.
                    if noted is None and (noted := activity.own()) is not None:
                        noted.wait_begins()
                    # What we wait for may have come just before the peer ended.
                    if not is_alive(self._peer_pid()) and not ready():
                        raise PeerGoneError(f"{self._peer} has ended")
        finally:
            if noted is not None:
                noted.wait_ends()
        self._recent.append(time.perf_counter() - started)


def is_alive(pid: int) -> bool:
    """Whether process ``pid`` runs; 0, a process not known yet, counts as running."""
    if pid == 0:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    # A zombie has ended, too: its parent has not asked for its exit code yet.
    return stat.rpartition(")")[2].split()[0] != "Z"
