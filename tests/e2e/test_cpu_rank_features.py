"""What else vLLM's users ask of a rank: profiling, sleep and torch.compile, on CPU ranks."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.patient]

DRIVER = Path(__file__).parent / "cpu_rank_features.py"


def run(
    model: Path, traces: Path, prompts: list[list[int]], **env: str
) -> tuple[dict[str, Any], str]:
    """What the driver found, and the engine's log."""
    result = subprocess.run(
        [sys.executable, str(DRIVER), str(model), str(traces)],
        input=json.dumps([prompt[:100] for prompt in prompts[:4]]),
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, "VLLM_HETEROGENEOUS_PLATFORM": "1", **env},
    )
    log = result.stdout + result.stderr
    assert result.returncode == 0, log[-6000:]
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line[7:]), log


@pytest.fixture(scope="module")
def eager(
    demo_model: Path, prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], str, Path]:
    traces = tmp_path_factory.mktemp("traces")
    return *run(demo_model, traces, prompts), traces


def test_the_profiler_records_the_cpu_on_each_rank(
    eager: tuple[dict[str, Any], str, Path],
) -> None:
    files = sorted(eager[2].glob("*.json*"))
    assert len({name for file in files for name in ("rank-0", "rank-1") if name in file.name}) == 2
    for file in files:
        with gzip.open(file, "rt") as trace:
            events = json.load(trace)["traceEvents"]
        kinds = {event.get("cat") for event in events}
        assert "cpu_op" in kinds
        assert not {kind for kind in kinds if kind and ("kernel" in kind or "cuda" in kind)}


def test_sleep_and_wake_up_are_a_warning(eager: tuple[dict[str, Any], str, Path]) -> None:
    found, log, _ = eager
    assert log.count("sleep mode is not supported on CPU") == 4
    assert found["after_sleep"] == found["profiled"]


def test_each_rank_says_where_it_computes_and_with_which_kernels(
    eager: tuple[dict[str, Any], str, Path],
) -> None:
    log = eager[1]
    for rank in (0, 1):
        assert f"Rank {rank}: " in log
    assert "compute threads on CPUs" in log
    assert log.count("Linear kernels (auto): onednn: ") == 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")
def test_compiled_layers_give_the_same_tokens(
    eager: tuple[dict[str, Any], str, Path],
    demo_model: Path,
    prompts: list[list[int]],
    tmp_path: Path,
) -> None:
    cache = {"VLLM_CACHE_ROOT": str(tmp_path / "vllm"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    found, _ = run(demo_model, tmp_path, prompts, VLLM_HETERO_CPU_COMPILE="1", **cache)
    assert found["after_sleep"] == eager[0]["profiled"]
    assert list(tmp_path.rglob("*.cpp")) != []
