import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hetctl.probe.machine import probe_machine
from tests.e2e.demo import demo_prompts, write_demo_model
from tests.e2e.engine import ServeProcess

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

TOKENS = 24
DEMO = "--max-model-len 1024 --concurrency 16 --input-len 256 --output-len 32"


def completions(server: ServeProcess, prompts: list[list[int]]) -> list[list[int]]:
    with ThreadPoolExecutor(len(prompts)) as pool:
        return list(pool.map(lambda prompt: server.complete(prompt, TOKENS), prompts))


def with_tiled_weights() -> dict[str, str]:
    """The environment in which ``--load-format tiled`` is known."""
    inherited = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{BENCHMARKS / 'tiled_weights'}:{inherited}"}


@pytest.fixture(scope="session", autouse=True)
def gpus() -> int:
    """Number of GPUs; without one, every test here is skipped, and says so."""
    machine = probe_machine()
    if not machine.gpus:
        pytest.skip(f"needs an NVIDIA GPU: {' '.join(machine.notes) or 'none found'}")
    return len(machine.gpus)


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def prompts(demo_model: Path) -> list[list[int]]:
    return demo_prompts(demo_model)


@pytest.fixture(scope="session")
def gpu_only_tokens(
    demo_model: Path, prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> list[list[int]]:
    """What the demo model says on one GPU."""
    log = tmp_path_factory.mktemp("gpu-only") / "log"
    with ServeProcess(demo_model, ("--split none --devices cuda:0", DEMO), log) as server:
        return completions(server, prompts)


@pytest.fixture(scope="session")
def llama_8b(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the shape of an 8B Llama, the demo model's tokenizer, no weights."""
    folder = shutil.copytree(BENCHMARKS / "llama_8b", tmp_path_factory.mktemp("model") / "llama-8b")
    for file in demo_model.glob("token*"):
        shutil.copy(file, folder)
    return folder
