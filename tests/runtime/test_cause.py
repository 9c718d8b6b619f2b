"""The sentence on the rank that ended the engine."""

import faulthandler
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from vllm_hetero import cause, shared_memory
from vllm_hetero.cause import Causes
from vllm_hetero.failure import FailureBoard, in_one_line
from vllm_hetero.rank_map import Rank, RankMap
from vllm_hetero.remedy import BROKEN, INSTALLATION, MEMORY

RANKS = RankMap((Rank(0, "cuda:0"), Rank(1, "cpu")))
Start = Callable[[int, str], BaseProcess]


def _live(ready: Event) -> None:
    # pytest's handler would print a traceback for the signals that kill this one.
    faulthandler.disable()
    ready.set()
    time.sleep(60)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that does ``what``, under the name that vLLM gives a rank's."""
    context = multiprocessing.get_context("fork")
    started: list[BaseProcess] = []

    def start_one(rank: int, what: str) -> BaseProcess:
        ready = context.Event()
        actions: dict[str, tuple[Callable[..., object], tuple[object, ...]]] = {
            "live": (_live, (ready,)),
            "exit 3": (sys.exit, (3,)),
            "fail": (os._exit, (70,)),
        }
        action, arguments = actions[what]
        process = context.Process(target=action, args=arguments, name=f"VllmWorker-{rank}")
        process.start()
        started.append(process)
        assert what != "live" or ready.wait(10)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def board(tmp_path: Path) -> FailureBoard:
    return FailureBoard(tmp_path)


def test_a_killed_rank_comes_before_what_its_peers_say(start: Start, board: FailureBoard) -> None:
    ranks = [start(0, "fail"), start(1, "live")]
    ranks[0].join()
    board.post(0, "cuda:0", "execute_model", RuntimeError("the other end is gone"))
    os.kill(ranks[1].pid or 0, signal.SIGKILL)
    ranks[1].join()
    causes = Causes(RANKS, board)
    causes.look_at(ranks, wait_s=5)
    said = causes.first()
    assert said is not None
    assert said.startswith("Rank 1 (cpu) was killed by SIGKILL: by someone, or by the kernel; ")
    assert said.endswith("start it again, or, if dmesg shows that memory ran out, " + MEMORY)


def test_the_out_of_memory_killer_is_named_only_if_it_was_at_work(
    start: Start, board: FailureBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    causes = Causes(RANKS, board)
    monkeypatch.setattr(causes._oom_kills, "since", lambda: 1)
    rank = start(1, "live")
    rank.kill()
    causes.look_at([rank], wait_s=5)
    said = causes.first()
    assert said is not None
    assert "SIGKILL, most likely by the kernel's out-of-memory killer" in said
    assert said.endswith(MEMORY)


def test_a_bus_error_with_a_full_shared_memory_says_so(
    start: Start, board: FailureBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 4096)
    rank = start(1, "live")
    os.kill(rank.pid or 0, signal.SIGBUS)
    causes = Causes(RANKS, board)
    causes.look_at([rank], wait_s=5)
    said = causes.first() or ""
    assert said.startswith("Rank 1 (cpu) was killed by SIGBUS: /dev/shm is full; remove files")
    assert cause._NEARLY_FULL_BYTES > 4096


def test_a_rank_that_ends_without_a_word_is_named(start: Start, board: FailureBoard) -> None:
    rank = start(1, "exit 3")
    causes = Causes(RANKS, board)
    causes.look_at([rank, start(0, "live")], wait_s=5)
    assert causes.first() == f"Rank 1 (cpu) ended by itself, with exit code 3; {BROKEN}"


def test_the_first_of_several_failures_is_the_cause(start: Start, board: FailureBoard) -> None:
    board.post(1, "cpu", "load_model", OSError("no such file"))
    board.post(0, "cuda:0", "init_device", RuntimeError("connection closed by peer"))
    causes = Causes(RANKS, board)
    causes.look_at([start(0, "fail"), start(1, "fail")], wait_s=5)
    causes.say("something later")
    assert causes.first() == f"Rank 1 (cpu) failed in load_model: OSError: no such file; {BROKEN}"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), MEMORY),
        (MemoryError(), MEMORY),
        (ImportError("libcuda.so.1: cannot open shared object file"), INSTALLATION),
        (ValueError("a hop carries at most 6 tensors, got 7"), BROKEN),
    ],
)
def test_what_a_rank_says_ends_with_what_to_do(
    board: FailureBoard, error: Exception, remedy: str
) -> None:
    board.post(1, "cpu", "load_model", error)
    said = board.first() or ""
    assert said.startswith("Rank 1 (cpu) failed in load_model: ")
    assert said.endswith(f"; {remedy}")
    assert ".;" not in said


def test_an_error_is_one_line_long() -> None:
    assert in_one_line(RuntimeError("no memory\nException raised from alloc\nframe #0")) == (
        "RuntimeError: no memory"
    )
    assert in_one_line(MemoryError()) == "MemoryError"
