"""How a rank waits for another process on the same host."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIVENESS_S = 1.0
"""How often a waiting rank looks whether the other process still lives."""


@dataclass(frozen=True)
class Patience:
    """How an end waits: busy at first, then asleep between looks. In seconds.

    A rank waits for another only while a batch is in flight, so a CPU rank may stay busy:
    the core is its own, and its other threads have nothing to do either. A GPU rank waits
    through the CPU stage's compute and must leave the cores to it.
    """

    spin_s: float
    sleep_s: float


CPU_RANK = Patience(spin_s=5e-3, sleep_s=50e-6)
GPU_RANK = Patience(spin_s=30e-6, sleep_s=20e-6)


class PeerGoneError(RuntimeError):
    """The process that was waited for has ended."""


def wait_until(
    ready: Callable[[], bool], patience: Patience, peer_pid: Callable[[], int], peer: str
) -> None:
    """Wait until ``ready()``, for as long as the peer lives.

    Args:
        ready: Looks at memory that the peer writes; cheap.
        patience: How to wait.
        peer_pid: The peer's process id, or 0 while it is not known yet.
        peer: What to call the peer when it has ended.

    Raises:
        PeerGoneError: the peer ended, and ``ready()`` is still false.
    """
    started = time.perf_counter()
    while time.perf_counter() - started < patience.spin_s:
        if ready():
            return
    checked = started
    while not ready():
        time.sleep(patience.sleep_s)
        if (now := time.perf_counter()) - checked > LIVENESS_S:
            checked = now
            # What we wait for may have come just before the peer ended.
            if not is_alive(peer_pid()) and not ready():
                raise PeerGoneError(f"{peer} has ended")


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
