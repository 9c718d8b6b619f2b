"""One GPU rank and one CPU rank in one engine, in both orders."""

import signal
from pathlib import Path

import pytest

from tests.e2e.engine import ServeProcess, left_behind, shared_memory
from tests.gpu.conftest import DEMO, TOKENS, completions, with_tiled_weights

pytestmark = pytest.mark.gpu

LARGE = (
    "--max-model-len 2048 --concurrency 8 --input-len 512 --output-len 64 -- --load-format tiled"
)


@pytest.mark.parametrize("devices", ["cuda:0,cpu", "cpu,cuda:0"])
def test_the_demo_model_gives_the_tokens_of_the_gpu_alone(
    devices: str,
    demo_model: Path,
    prompts: list[list[int]],
    gpu_only_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    before = shared_memory()
    log = tmp_path / "log"
    options = (f"--split 3,5 --devices {devices}", DEMO)
    with ServeProcess(demo_model, options, log) as server:
        tokens = completions(server, prompts)
        assert server.end(signal.SIGTERM) == 0
    assert tokens == gpu_only_tokens
    said = log.read_text()
    assert "FLASH_ATTN" in said
    assert "CPU_ATTN" in said
    assert "Graph capturing finished" in said
    assert left_behind(server, before) == []


@pytest.mark.parametrize(("devices", "split"), [("cuda:0,cpu", "28,4"), ("cpu,cuda:0", "4,28")])
def test_an_8b_model_runs(devices: str, split: str, llama_8b: Path, tmp_path: Path) -> None:
    options = (f"--split {split} --devices {devices}", LARGE)
    with ServeProcess(llama_8b, options, tmp_path / "log", with_tiled_weights()) as server:
        long = [list(range(1, 900)), [5, 6, 7]]
        assert [len(tokens) for tokens in completions(server, long)] == [TOKENS, TOKENS]
