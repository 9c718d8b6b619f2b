"""Which rank the engine hangs on, told from what each is doing."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vllm_hetero import activity, stall
from vllm_hetero.rank_map import Rank, RankMap
from vllm_hetero.remedy import REPORT, STOPPED
from vllm_hetero.stall import (
    Call,
    Calls,
    Limits,
    RankState,
    StallWatch,
    is_stopped,
    stalled_call,
    stalled_start,
)

S = 10**9
NOW = 1000 * S
LIMITS = Limits(step_s=60, start_s=600)
START = Limits(step_s=10, start_s=30)
STEP = Call("execute_model", NOW - 100 * S)


def state(
    rank: int,
    method: str = "execute_model",
    since_s: float = 100,
    waits_s: float | None = None,
    stopped_s: float | None = None,
    pid: int = 7,
    started_s: float = 900,
) -> RankState:
    """A rank that has been in a method for some seconds, some of which it waits."""
    stopped_since = 0 if stopped_s is None else NOW - int(stopped_s * S)
    waits_since = 0 if waits_s is None else NOW - int(waits_s * S)
    doing = activity.Doing(pid, method, NOW - int(since_s * S), waits_since)
    return RankState(rank, "cpu", doing, stopped_since, NOW - int(started_s * S))


def test_the_rank_that_computes_is_named_and_not_those_that_wait_for_it() -> None:
    ranks = [state(0, since_s=1, method=""), state(1), state(2, waits_s=99)]
    said = stalled_call(ranks, STEP, LIMITS, NOW)
    assert said == (
        "Rank 1 (cpu) stalled in execute_model for 100 s; if it is only slow, raise "
        "VLLM_HETERO_STALL_TIMEOUT_S"
    )


def test_a_stopped_rank_is_named_before_one_that_computes() -> None:
    ranks = [state(0), state(1, method="", since_s=500, stopped_s=120)]
    said = stalled_call(ranks, STEP, LIMITS, NOW)
    assert said is not None
    assert said.startswith(
        "Rank 1 (cpu) stalled in execute_model for 100 s: its process is stopped"
    )


def test_a_rank_that_did_not_take_the_call_up_is_named() -> None:
    ranks = [state(0, method="", since_s=99), state(1, method="", since_s=101)]
    said = stalled_call(ranks, STEP, LIMITS, NOW)
    assert said is not None
    assert said.startswith("Rank 1 (cpu) stalled for 100 s: it did not take up execute_model")


def test_ranks_that_hang_together_in_a_collective_are_all_named() -> None:
    said = stalled_call([state(0, since_s=99), state(1)], STEP, LIMITS, NOW)
    assert said is not None
    assert said.startswith("Rank 1 (cpu) stalled in execute_model for 100 s (as did rank 0)")


def test_ranks_that_wait_for_each_other_are_a_stall_too() -> None:
    said = stalled_call([state(0, waits_s=99), state(1, waits_s=98)], STEP, LIMITS, NOW)
    assert said is not None
    assert "Rank 0 (cpu) stalled" in said
    assert "no rank computes; start it again" in said


def test_an_answer_that_got_lost_is_a_stall_of_no_rank() -> None:
    said = stalled_call([state(0, method="", since_s=1)], STEP, LIMITS, NOW)
    assert said == (
        "execute_model was not answered within 100 s, and no rank (of 0) is at work on it; "
        f"{REPORT}"
    )


def test_a_step_within_its_time_is_none() -> None:
    assert stalled_call([state(0)], Call("execute_model", NOW - 59 * S), LIMITS, NOW) is None


def test_a_call_that_is_no_step_has_more_time() -> None:
    call = Call("compile_or_warm_up_model", NOW - 100 * S)
    assert stalled_call([state(0)], call, LIMITS, NOW) is None
    late = Call("compile_or_warm_up_model", NOW - 601 * S)
    said = stalled_call([state(0)], late, LIMITS, NOW)
    assert said is not None
    assert "raise VLLM_HETERO_START_TIMEOUT_S" in said


def test_a_rank_whose_process_never_ran_our_code_did_not_start() -> None:
    silent = state(1, pid=0, method="", since_s=1000, started_s=31)
    said = stalled_start([state(0, "init_device", 20), silent], START, NOW)
    assert said == (
        "Rank 1 (cpu) did not start in 31 s; if it is only slow, raise VLLM_HETERO_START_TIMEOUT_S"
    )


def test_ranks_that_wait_for_each_other_at_their_start_are_all_named() -> None:
    ranks = [state(0, "init_device", 31), state(1, "init_device", 32), state(2, "its start", 3)]
    said = stalled_start(ranks, START, NOW)
    assert said is not None
    assert said.startswith("Rank 1 (cpu) stalled in init_device for 32 s (as did rank 0);")


def test_a_rank_that_does_not_get_past_its_groups_is_named() -> None:
    said = stalled_start([state(0, "init_device", 31), state(1, "", 900)], START, NOW)
    assert said is not None
    assert said.startswith("Rank 0 (cpu) stalled in init_device for 31 s")


@pytest.mark.parametrize("method", ["load_model", ""])
def test_loading_weights_and_waiting_for_the_others_take_their_time(method: str) -> None:
    assert stalled_start([state(0, method, 3000)], START, NOW) is None


def test_a_rank_that_is_stopped_at_its_start_is_named_before_the_start_is_overdue() -> None:
    assert stalled_start([state(0, "its start", 10, stopped_s=9)], START, NOW) is None
    said = stalled_start([state(0, "its start", 12, stopped_s=11)], START, NOW)
    assert said == (
        "Rank 0 (cpu) did not start: its process is stopped (SIGSTOP or a debugger); "
        + STOPPED.format(variable="VLLM_HETERO_STALL_TIMEOUT_S")
    )


def test_calls_are_in_flight_until_they_are_answered() -> None:
    calls = Calls()
    assert calls.oldest() is None
    first, second = calls.begin("execute_model"), calls.begin("sample_tokens")
    oldest = calls.oldest()
    assert oldest is not None
    assert oldest.method == "execute_model"
    calls.end(first)
    oldest = calls.oldest()
    assert oldest is not None
    assert oldest.method == "sample_tokens"
    calls.end(second)
    assert calls.oldest() is None


@pytest.fixture
def sleeper() -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 5
    while not is_stopped(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stopped_process_is_told_from_a_running_one_and_from_none(
    sleeper: subprocess.Popen,
) -> None:
    assert not is_stopped(sleeper.pid)
    sleeper.send_signal(signal.SIGSTOP)
    wait_until_stopped(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert not is_stopped(sleeper.pid)


def test_a_process_name_cannot_pass_for_a_state(tmp_path: Path) -> None:
    (tmp_path / "5").mkdir()
    (tmp_path / "5" / "stat").write_text("5 (a) T b) S 1 5 5 0\n")
    assert not is_stopped(5, tmp_path)


def test_the_watch_ends_the_engine_once_and_only_while_something_is_asked(
    sleeper: subprocess.Popen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "POLL_S", 0.02)
    causes: list[str] = []
    ended = threading.Event()

    def end(cause: str) -> None:
        causes.append(cause)
        ended.set()

    ranks = RankMap((Rank(0, "cpu"),))
    watch = StallWatch(ranks, str(tmp_path), Limits(step_s=0.2, start_s=30), end)
    watch.process_started(0, sleeper)  # type: ignore[arg-type]
    activity.Activity(tmp_path, 0).begin()
    watch.all_ready()
    watch.start()
    sleeper.send_signal(signal.SIGSTOP)
    wait_until_stopped(sleeper.pid)
    assert not ended.wait(0.5)
    watch.calls.begin("execute_model")
    assert ended.wait(5)
    time.sleep(0.1)
    assert len(causes) == 1
    assert causes[0].startswith("Rank 0 (cpu) stalled in execute_model")
