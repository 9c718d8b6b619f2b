"""The driver's side: found by what NVML and CUDA say, tried with a libcuda of our own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hetctl.doctor import gpu
from hetctl.probe.gpu import GpuInventory, GpuLibraryError
from tests.doctor.surroundings import surroundings
from tests.planner.machines import machine

LIBCUDA = """
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
"""


def on_driver(cuda: str) -> object:
    return machine(gpus=1).model_copy(
        update={"driver_version": "580.1", "cuda_driver_version": cuda}
    )


@pytest.mark.parametrize(
    ("cuda", "status"),
    [("12.8", "fail"), ("13.0", "pass"), ("13.2", "pass"), ("14.0", "pass"), ("", "warn")],
)
def test_the_driver_must_run_the_cuda_of_torch(
    cuda: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "torch_cuda_version", lambda: "13.0")
    found = gpu.runtime_match(surroundings(on=on_driver(cuda)))
    assert found.status == status
    if cuda:
        assert cuda in found.detail


def test_a_newer_minor_version_and_a_cpu_build_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "torch_cuda_version", lambda: "13.2")
    assert gpu.runtime_match(surroundings(on=on_driver("13.0"))).status == "warn"
    monkeypatch.setattr(gpu, "torch_cuda_version", lambda: None)
    assert gpu.runtime_match(surroundings(on=on_driver("13.0"))).status == "fail"


def test_torch_s_cuda_version_is_read_without_importing_torch() -> None:
    code = "import sys; from hetctl.doctor import gpu; print(gpu.torch_cuda_version())\n"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, imported = done.stdout.split()
    assert version[0].isdigit()
    assert imported == "False"


def test_without_a_gpu_nothing_is_checked_unless_a_driver_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLibrary:
        def read(self) -> GpuInventory:
            raise GpuLibraryError("No usable NVIDIA GPU.")

    monkeypatch.setattr(gpu, "NvmlLibrary", NoLibrary)
    for check in (gpu.nvml, gpu.runtime_match, gpu.starts):
        assert check(surroundings(tmp_path)).status == "skipped"
    loaded = tmp_path / "proc/driver/nvidia/version"
    loaded.parent.mkdir(parents=True)
    loaded.touch()
    assert gpu.nvml(surroundings(tmp_path)).status == "fail"


@pytest.fixture
def libcuda(tmp_path: Path) -> object:
    """Builds a libcuda.so.1 whose cuInit answers as told; gives the environment for it."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")

    def build(answer: str) -> dict[str, str]:
        source = tmp_path / "cuda.c"
        source.write_text(LIBCUDA.replace("INIT", answer))
        library = tmp_path / "libcuda.so.1"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
        return {"LD_LIBRARY_PATH": str(tmp_path)}

    return build


def test_cuda_is_really_started(libcuda) -> None:
    found = gpu.starts(surroundings(gpus=1, **libcuda("0")))
    assert (found.status, found.detail) == ("pass", "2 devices")


def test_why_cuda_does_not_start_is_told_with_the_remedy(libcuda) -> None:
    found = gpu.starts(surroundings(gpus=1, **libcuda("802")))
    assert found.status == "fail"
    assert "CUDA error 802" in found.detail
    assert "fabricmanager" in found.remedy
    assert gpu.starts(surroundings(gpus=1, **libcuda("12345"))).status == "fail"


def test_a_driver_that_hangs_or_is_missing_is_told(
    libcuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_CUDA_TIMEOUT_S", 0.5)
    hanging = gpu.starts(surroundings(gpus=1, **libcuda("({for (;;); 0;})")))
    assert hanging.detail == "cuInit did not return in 0.5 s"
    monkeypatch.setattr(gpu, "_START_CUDA", gpu._START_CUDA.replace("libcuda.so.1", "libno.so.1"))
    missing = gpu.starts(surroundings(gpus=1))
    assert missing.status == "fail"
    assert "libno.so.1" in missing.detail
