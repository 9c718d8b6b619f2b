from pathlib import Path

import pytest

from tests.e2e.demo import demo_prompts, write_demo_model


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model's folder; the CPU kernels are installed, too."""
    return write_demo_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def prompts(demo_model: Path) -> list[list[int]]:
    """Sixteen prompts of mixed length, in token ids of the demo model."""
    return demo_prompts(demo_model)
