import os
from pathlib import Path

import pytest

from vllm_hetero import env


@pytest.fixture(autouse=True)
def no_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache without measurements of this machine, and the CPU kernels where they are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    monkeypatch.setenv(env.CACHE, os.environ.get(env.CACHE) or str(cache / "vllm_hetero"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
