"""Where a rank's time in an interval went.

Counters hold calls that are over. One that is not over is told by how long it lasts, so a step
of many seconds is seen while it runs, and what of it lies before the interval is left out.
"""

from hetctl.top.frame import TimeShares
from hetctl.top.reading import Change

_CALLS = "vllm_hetero_step_call_seconds_total"
_RECEIVING = "vllm_hetero_hop_receive_seconds_total"
_CALL_RUNNING = "vllm_hetero_step_running_seconds"
_RECEIVE_RUNNING = "vllm_hetero_hop_receive_running_seconds"


def time_shares(rank: int, changed: Change) -> TimeShares:
    """Of the interval of ``changed``."""

    def counted(name: str) -> float:
        return changed.of_rank(f"vllm_hetero_{name}_seconds_total", rank) or 0.0

    receiving_s = _in_interval(rank, changed, _RECEIVING, _RECEIVE_RUNNING)
    calls_s = _in_interval(rank, changed, _CALLS, _CALL_RUNNING)
    worked_s = max(0.0, calls_s - receiving_s)
    unfinished_s = min(worked_s, _working_now_s(rank, changed))
    finished_s = worked_s - unfinished_s
    # Of calls that began before the interval, each part lies before it to the same extent.
    all_of_them_s = counted("step_call") - counted("hop_receive")
    scale = min(1.0, finished_s / all_of_them_s) if all_of_them_s > 0 else 0.0
    layers_s, head_s, sending_s = (scale * counted(name) for name in ("layers", "head", "hop_send"))
    other_s = max(0.0, finished_s - layers_s - head_s - sending_s)

    def share(seconds: float) -> float:
        return min(1.0, seconds / changed.seconds)

    return TimeShares(
        layers=share(layers_s),
        head=share(head_s),
        receiving=share(receiving_s),
        sending=share(sending_s),
        other=share(other_s),
        unfinished=share(unfinished_s),
    )


def _in_interval(rank: int, changed: Change, counter: str, running: str) -> float:
    """Seconds of the interval that a counter and what is still running make up."""
    before, now = (samples.of_ranks(running) for samples in (changed.before, changed.now))
    grown = changed.of_rank(counter, rank) or 0.0
    return max(0.0, grown + now.get(rank, 0.0) - before.get(rank, 0.0))


def _working_now_s(rank: int, changed: Change) -> float:
    """For how long the call that is not over has lasted, without what it waits for now."""
    call, receive = (changed.now.of_ranks(name) for name in (_CALL_RUNNING, _RECEIVE_RUNNING))
    return max(0.0, call.get(rank, 0.0) - receive.get(rank, 0.0))
