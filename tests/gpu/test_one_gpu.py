"""One GPU rank and one CPU rank in one engine, in both orders."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.engine import ServeProcess, left_behind, shared_memory

pytestmark = pytest.mark.gpu

TOKENS = 24
DEMO = "--max-model-len 1024 --concurrency 16 --input-len 256 --output-len 32"
TILED = Path(__file__).parents[2] / "benchmarks" / "tiled_weights"
LARGE = (
    "--max-model-len 2048 --concurrency 8 --input-len 512 --output-len 64 -- --load-format tiled"
)


def completions(server: ServeProcess, prompts: list[list[int]]) -> list[list[int]]:
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: server.complete(prompt, TOKENS), prompts))


@pytest.fixture(scope="module")
def gpu_only_tokens(
    demo_model: Path, prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> list[list[int]]:
    log = tmp_path_factory.mktemp("gpu-only") / "log"
    with ServeProcess(demo_model, ("--split none --devices cuda:0", DEMO), log) as server:
        return completions(server, prompts)


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
    env = {"PYTHONPATH": f"{TILED}:{_inherited_path()}"}
    with ServeProcess(llama_8b, options, tmp_path / "log", env) as server:
        long = [list(range(1, 900)), [5, 6, 7]]
        assert [len(tokens) for tokens in completions(server, long)] == [TOKENS, TOKENS]


def _inherited_path() -> str:
    import os

    return os.environ.get("PYTHONPATH", "")
