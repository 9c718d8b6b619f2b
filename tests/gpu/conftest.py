import json
import shutil
from pathlib import Path

import pytest

from hetctl.probe.machine import probe_machine
from tests.e2e.demo import demo_prompts, write_demo_model

LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 0,
}


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
    folder = tmp_path_factory.mktemp("model") / "llama-8b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    for file in demo_model.glob("token*"):
        shutil.copy(file, folder)
    return folder
