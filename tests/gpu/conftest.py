import shutil
from pathlib import Path

import pytest

from hetctl.probe.machine import probe_machine
from tests.e2e.demo import demo_prompts, write_demo_model

LLAMA_8B = Path(__file__).parents[2] / "benchmarks" / "llama_8b"


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
def llama_8b(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has the shape of an 8B Llama, the demo model's tokenizer, no weights."""
    folder = shutil.copytree(LLAMA_8B, tmp_path_factory.mktemp("model") / "llama-8b")
    for file in demo_model.glob("token*"):
        shutil.copy(file, folder)
    return folder
