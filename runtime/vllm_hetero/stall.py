"""Notices a rank that hangs, says which one it is, and ends the engine.

A rank that dies is noticed by its process's end. One that was stopped, or waits for
something that will not come, looks like one that computes; only time tells. A thread of the
engine's process looks at the ranks' :mod:`~vllm_hetero.activity` once a second.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from vllm_hetero import activity, env, remedy
from vllm_hetero.rank_map import RankMap

POLL_S = 1.0
STEPS = frozenset({"execute_model", "sample_tokens", "execute_dummy_batch"})
"""Calls that are part of a step of the model."""
UNLIMITED = "load_model"
"""How long weights take to read depends on their size and the disk; no limit suits all."""
_NS = 10**9


@dataclass(frozen=True)
class Limits:
    """Longest times, in seconds; infinity for none."""

    step_s: float
    """Of one step of the model, from the engine's call to the last stage's answer, and for
    which a rank may be stopped during the start."""
    start_s: float
    """Of one step of a rank's start, and of a call that is no step of the model."""

    def of_call(self, method: str) -> float:
        return self.step_s if method in STEPS else self.start_s


@dataclass(frozen=True)
class Call:
    """Something that the engine asked of all ranks, not yet answered."""

    method: str
    sent_ns: int


class Calls:
    """The calls in flight, oldest first."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._sent = 0

    def begin(self, method: str) -> int:
        """Note a call that is being sent; returns its number, for :meth:`end`."""
        self._sent += 1
        self._calls[self._sent] = Call(method, time.monotonic_ns())
        return self._sent

    def end(self, number: int) -> None:
        self._calls.pop(number, None)

    def oldest(self) -> Call | None:
        # Other threads begin and end calls; a copy of a dictionary is taken at once.
        return min(self._calls.copy().values(), key=lambda call: call.sent_ns, default=None)


@dataclass(frozen=True)
class RankState:
    """One look at a rank and its process."""

    rank: int
    device: str
    doing: activity.Doing
    stopped_since_ns: int
    """Since when its process is stopped, by SIGSTOP, SIGTSTP or a debugger; 0 if it is not."""
    started_ns: int
    """When its process was started."""

    def __str__(self) -> str:
        return f"Rank {self.rank} ({self.device})"

    @property
    def has_begun(self) -> bool:
        return self.doing.pid != 0

    @property
    def busy_since_ns(self) -> int:
        """Since when it is in its method, or on its way to its first."""
        return self.doing.since_ns if self.has_begun else self.started_ns

    @property
    def computes(self) -> bool:
        """Whether it is in a method and does not wait for another rank."""
        return bool(self.doing.method) and not self.doing.waits_since_ns


def stalled_start(states: Sequence[RankState], limits: Limits, now_ns: int) -> str | None:
    """One sentence on a rank that hangs before all are ready, or None."""
    for state in states:
        if state.stopped_since_ns and _seconds(state.stopped_since_ns, now_ns) > limits.step_s:
            return f"{state} did not start{_why(state, env.STALL_TIMEOUT_S)}"
    # Those that are done with their start wait for the others.
    busy = [s for s in states if not s.has_begun or s.doing.method not in ("", UNLIMITED)]
    if not busy:
        return None
    first = min(busy, key=lambda state: state.busy_since_ns)
    seconds = _seconds(first.busy_since_ns, now_ns)
    if seconds <= limits.start_s:
        return None
    if first.has_begun:
        # Ranks that are in the same step may be waiting for each other.
        same = [state for state in busy if state.doing.method == first.doing.method]
        said = f"{first} stalled in {first.doing.method} for {seconds:.0f} s{_also(same, first)}"
    else:
        said = f"{first} did not start in {seconds:.0f} s"
    return said + _why(first, env.START_TIMEOUT_S)


def stalled_call(
    states: Sequence[RankState], call: Call, limits: Limits, now_ns: int
) -> str | None:
    """One sentence on the rank that ``call`` hangs on, or None if it still has time."""
    seconds = _seconds(call.sent_ns, now_ns)
    if seconds <= limits.of_call(call.method):
        return None
    variable = env.STALL_TIMEOUT_S if call.method in STEPS else env.START_TIMEOUT_S
    for state in states:
        if state.stopped_since_ns:
            return f"{state} stalled in {call.method} for {seconds:.0f} s{_why(state, variable)}"
    # Ranks that wait for another one are its victims. Of several that compute, which happens
    # in a collective operation, the first to have begun is in it for the longest time.
    guilty = [state for state in states if state.computes]
    if guilty:
        first = min(guilty, key=lambda state: state.doing.since_ns)
        said = f"{first} stalled in {first.doing.method} for {seconds:.0f} s{_also(guilty, first)}"
        return said + _why(first, variable)
    for state in states:
        if not state.doing.method and state.doing.since_ns < call.sent_ns:
            said = f"{state} stalled for {seconds:.0f} s: it did not take up {call.method}"
            return said + _why(state, variable)
    waiting = [state for state in states if state.doing.method]
    if waiting:
        first = min(waiting, key=lambda state: state.doing.waits_since_ns)
        return (
            f"{first} stalled in {first.doing.method} for {seconds:.0f} s: it waits for another "
            f"rank, and no rank computes; {remedy.REPORT}"
        )
    idle = ", ".join(str(state.rank) for state in states)
    return (
        f"{call.method} was not answered within {seconds:.0f} s, and no rank (of {idle}) is at "
        f"work on it; {remedy.REPORT}"
    )


def _seconds(since_ns: int, now_ns: int) -> float:
    return (now_ns - since_ns) / _NS


def _also(busy: Sequence[RankState], first: RankState) -> str:
    others = [f"rank {state.rank}" for state in busy if state is not first]
    return f" (as did {', '.join(others)})" if others else ""


def _why(state: RankState, variable: str) -> str:
    if state.stopped_since_ns:
        stopped = remedy.STOPPED.format(variable=variable)
        return f": its process is stopped (SIGSTOP or a debugger); {stopped}"
    return f"; {remedy.SLOW.format(variable=variable)}"


class StallWatch:
    """The thread that looks, from before the first rank starts to the engine's end.

    Args:
        ranks: All ranks of the engine.
        run_dir: Where their activity is noted; this makes the files.
        limits: When to call something a stall.
        end: Ends the engine, with the sentence that says why.
    """

    def __init__(
        self, ranks: RankMap, run_dir: str, limits: Limits, end: Callable[[str], None]
    ) -> None:
        self.calls = Calls()
        self._limits = limits
        self._end = end
        self._starting = True
        self._stop = threading.Event()
        self._devices = [rank.device for rank in ranks.ranks]
        self._records: dict[int, activity.Activity] = {}
        self._started: dict[int, tuple[BaseProcess, int]] = {}
        self._stopped_since: dict[int, int] = {}
        for rank in ranks.ranks:
            activity.create(run_dir, rank.rank)
            self._records[rank.rank] = activity.Activity(run_dir, rank.rank)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True, name="StallWatch").start()

    def stop(self) -> None:
        self._stop.set()

    def process_started(self, rank: int, process: BaseProcess) -> None:
        """The engine started the process of ``rank``."""
        self._started[rank] = (process, time.monotonic_ns())

    def all_ready(self) -> None:
        """From now on, ranks only do what they are called for."""
        self._starting = False

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            if (cause := self._look()) is not None:
                self._end(cause)
                return

    def _look(self) -> str | None:
        now = time.monotonic_ns()
        if self._starting:
            return stalled_start(self._states(now), self._limits, now)
        call = self.calls.oldest()
        if call is None or _seconds(call.sent_ns, now) <= self._limits.of_call(call.method):
            return None
        return stalled_call(self._states(now), call, self._limits, now)

    def _states(self, now_ns: int) -> list[RankState]:
        states = []
        for rank, (process, started_ns) in sorted(self._started.copy().items()):
            if is_stopped(process.pid or 0):
                self._stopped_since.setdefault(rank, now_ns)
            else:
                self._stopped_since.pop(rank, None)
            states.append(
                RankState(
                    rank,
                    self._devices[rank],
                    self._records[rank].read(),
                    self._stopped_since.get(rank, 0),
                    started_ns,
                )
            )
        return states


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a process is stopped, by a signal or a debugger; not if it is gone."""
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in ("T", "t")
