"""Two spawned ranks: what they find is judged, and no way of failing is waited for in vain."""

import json
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from hetctl.doctor.diagnosis import Finding
from hetctl.doctor.ranks import check_ranks
from tests.doctor.surroundings import surroundings

CPU = "HeterogeneousCpuPlatform"
FOUND = {"platform": CPU, "device": "cpu", "kernels": "_C", "gloo_s": 0.001, "shm_s": 0.0005}


def examined(tmp_path: Path, program: str, timeout_s: float = 30) -> dict[str, Finding]:
    """What is found of ranks that run ``program``, a script with ``rank`` and ``say``."""
    script = tmp_path / "rank.py"
    start = "import json, os, sys, time\nrank = int(sys.argv[1])\n"
    start += "def say(**line): print(json.dumps(line), flush=True)\n"
    script.write_text(start + textwrap.dedent(program))
    told: list[str] = []
    command = (sys.executable, str(script))
    found = check_ranks(surroundings(), told.append, timeout_s, command)
    assert not [
        process.pid
        for process in psutil.Process().children(recursive=True)
        if str(script) in " ".join(process.cmdline())
    ]
    return {finding.name: finding for finding in found}


def test_ranks_that_meet_pass(tmp_path: Path) -> None:
    found = examined(tmp_path, f"say(doing='x')\nprint('a log line')\nsay(found={FOUND!r})")
    assert {name: finding.status for name, finding in found.items()} == {
        "platform": "pass",
        "kernels load": "pass",
        "pinned memory": "skipped",
        "Gloo": "pass",
        "shared memory": "pass",
    }
    assert found["Gloo"].detail.startswith("1.0 ms there and back")


def test_a_platform_that_is_not_ours_fails(tmp_path: Path) -> None:
    other = json.dumps(FOUND | {"platform": "CudaPlatform"})
    found = examined(tmp_path, f"say(found=json.loads('{other}'))")
    assert found["platform"].status == "fail"
    assert "CudaPlatform" in found["platform"].detail


def test_a_rank_that_fails_is_named_with_its_step_and_its_words(tmp_path: Path) -> None:
    found = examined(
        tmp_path,
        """
        say(doing="loading the CPU kernels")
        if rank == 1:
            raise ImportError("libnothing.so is missing, token=hf_abcdefghijklmnop")
        time.sleep(100)
        """,
    )
    assert found["round trip"].detail == (
        "rank 1 failed while loading the CPU kernels: ImportError: libnothing.so is missing, "
        "token=********"
    )
    assert "hetctl kernels install" in found["round trip"].remedy


def test_ranks_that_wait_for_each_other_are_ended_with_what_they_waited_for(tmp_path: Path) -> None:
    found = examined(tmp_path, "say(doing=f'sending over {rank}')\ntime.sleep(100)", timeout_s=1)
    assert found["round trip"].detail == (
        "no end after 1 s: rank 0 was sending over 0; rank 1 was sending over 1"
    )


def test_ranks_that_end_without_a_word_fail(tmp_path: Path) -> None:
    assert examined(tmp_path, "pass")["round trip"].status == "fail"


def test_ranks_start_with_the_environment_of_an_engine_s_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = examined(
        tmp_path,
        f"""
        names = ("VLLM_HETEROGENEOUS_PLATFORM", "VLLM_HETERO_ROLE", "CUDA_VISIBLE_DEVICES")
        assert [os.environ.get(name) for name in names] == ["1", "cpu", "-1"], os.environ
        assert "VLLM_HETERO_RANK_MAP" not in os.environ
        say(found={FOUND!r})
        """,
    )
    assert found["platform"].status == "pass"
