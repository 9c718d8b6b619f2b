"""What a CPU rank preloads, and what is said of what it lacks."""

import pytest

from vllm_hetero.preload import missing_libraries


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch):
    """Nothing is installed but what the user preloads."""
    for search in ("tcmalloc", "intel_openmp", "torch_openmp"):
        monkeypatch.setattr(f"vllm_hetero.preload.{search}", lambda: None)
    return lambda *libraries: monkeypatch.setenv("LD_PRELOAD", ":".join(libraries))


def test_what_is_missing_is_named_with_how_to_get_it(preloaded) -> None:
    preloaded()
    said = missing_libraries()
    assert said is not None
    assert "libtcmalloc-minimal4" in said
    assert "pip install intel-openmp" in said


def test_what_is_there_is_not_named(preloaded) -> None:
    preloaded("/lib/libtcmalloc_minimal.so.4")
    said = missing_libraries()
    assert said is not None
    assert "tcmalloc" not in said
    preloaded("/lib/libtcmalloc_minimal.so.4", "/lib/libiomp5.so")
    assert missing_libraries() is None
