"""What of the GPU's side can be checked without one."""

from pathlib import Path

import pytest

import vllm_hetero
from vllm_hetero.cuda_driver import compiled

SOURCES = sorted(Path(vllm_hetero.__file__).parent.rglob("*.cu"))


@pytest.mark.parametrize("architecture", ["sm_75", "sm_90"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_kernels_compile(source: Path, architecture: str) -> None:
    assert compiled(source, architecture).startswith(b"\x7fELF")


def test_a_compiler_error_is_passed_on(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cu"
    source.write_text("__global__ void f() { undeclared = 1; }")
    with pytest.raises(RuntimeError, match=r"wrong.cu does not compile: .*undeclared"):
        compiled(source, "sm_90")
