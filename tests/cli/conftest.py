"""Commands learn from past runs and measurements: those of the tests stay among themselves."""

import os
from pathlib import Path

import pytest

from vllm_hetero import env


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user for each test, and the CPU kernels where they are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    monkeypatch.setenv(env.CACHE, os.environ.get(env.CACHE) or str(cache / "vllm_hetero"))
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
