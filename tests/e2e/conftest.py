import json
from pathlib import Path

import pytest

from hetctl.model.tiny import write_tiny_model
from vllm_hetero.kernels import ensure_kernels

PROMPTS = Path(__file__).parent.parent / "prompts.json"


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's folder; the CPU kernels are installed, too."""
    ensure_kernels()
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def prompts(demo_model: Path) -> list[list[int]]:
    """Sixteen prompts of mixed length, in token ids of the demo model."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(demo_model / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in json.loads(PROMPTS.read_text())]
