"""Why a server ended, found in its log."""

import pytest

from hetctl.launch.startup import cause

ENGINE = "(EngineCore pid=7) ERROR 11-21 05:00:00 [executor.py:9] "


@pytest.mark.parametrize(
    "sentence",
    [
        "Rank 1 (cpu) failed in execute_model: ValueError: a hop carries at most 6 tensors, got 7",
        "Rank 0 (cuda:0) failed in its start: ImportError: libcuda.so.1: cannot open",
        "Rank 0 (cpu) was killed by SIGKILL: by someone, or by the kernel (see dmesg)",
        "Rank 2 (cpu) stalled in execute_model for 301 s: its process is stopped",
        "Rank 2 (cpu) stalled for 301 s: it did not take up sample_tokens",
        "Rank 1 (cpu) did not start in 601 s",
        "Rank 1 (cpu) did not start: its process is stopped (SIGSTOP or a debugger)",
        "Rank 1 (cpu) ended by itself, with exit code 3",
        "execute_model was not answered within 301 s, and no rank is at work on it",
    ],
)
def test_the_sentence_of_the_rank_that_failed_is_the_cause(sentence: str) -> None:
    log = f"ValueError: something before\n{ENGINE}{sentence}\nRuntimeError: Executor failed.\n"
    assert cause(log) == sentence


@pytest.mark.parametrize(
    "said",
    [
        "RuntimeError: Engine core initialization failed. Failed core proc(s): {'EngineCore': -9}",
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
    ],
)
def test_an_engine_that_is_killed_is_told_from_a_rank_with_what_to_do(said: str) -> None:
    assert cause(f"{said}\n") == (found := cause(f"(APIServer pid=7) {said}\n"))
    assert found is not None
    assert found.startswith("The engine's process ended without a word from it or a rank")
    assert "start it again" in found
    pipe = "BrokenPipeError: [Errno 32] Broken pipe"
    assert cause(f"{pipe}\n(APIServer pid=7) {said}\n") == found
    assert cause(f"{pipe}\n") == pipe


def test_a_ranks_own_log_line_is_not_the_whole_story() -> None:
    log = "ERROR Rank 1 (cpu) failed in load_model\nOSError: no such file\n"
    assert cause(log) == "OSError: no such file"
