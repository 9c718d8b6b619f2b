"""The GPU's side: NVML, the driver, and the CUDA that torch was built with."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, skipped, warned
from hetctl.probe.gpu import GpuLibraryError
from hetctl.probe.nvml import NvmlLibrary
from hetctl.units import format_bytes

_NO_GPU = "no NVIDIA GPU is visible"
_CUDA_TIMEOUT_S = 30.0
# In a process of its own: a driver may hang, and CUDA must not start in hetctl itself.
_START_CUDA = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int()
error = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
print(json.dumps({"error": error, "count": count.value}))
"""
# CUresult of cuda.h, where the remedy is known.
_CUDA_ERRORS = {
    100: ("CUDA sees no device", "Check CUDA_VISIBLE_DEVICES and the container's GPU access."),
    802: (
        "the GPUs' fabric is not ready",
        "Start nvidia-fabricmanager in the driver's version (systems with NVSwitch).",
    ),
    803: (
        "the driver's library and its kernel module have different versions",
        "Restart the machine, or mount the host's libcuda into the container.",
    ),
    804: (
        "CUDA's compatibility package does not support this GPU",
        "Take the folder cuda/compat out of LD_LIBRARY_PATH, or update the driver.",
    ),
    999: (
        "the driver gave no reason",
        "Load nvidia_uvm again (rmmod nvidia_uvm; modprobe nvidia_uvm) or restart the machine.",
    ),
}


def nvml(surroundings: Surroundings) -> Outcome:
    try:
        inventory = NvmlLibrary().read()
    except GpuLibraryError as error:
        if _driver_is_loaded(surroundings):
            return failed(
                str(error), "Make nvidia-smi work first; in a container give it GPU access."
            )
        return skipped(str(error).rstrip("."))
    if inventory.notes:
        return failed(inventory.notes[0], "See dmesg for Xid errors; reset or replace the GPU.")
    names = ", ".join(
        f"{gpu.name} ({format_bytes(gpu.memory_total_bytes)})" for gpu in inventory.gpus
    )
    if not surroundings.machine.gpus:
        return warned(f"{names or 'no GPU'}, none visible to CUDA", "Check CUDA_VISIBLE_DEVICES.")
    return passed(f"driver {inventory.driver_version}: {names}")


def _driver_is_loaded(surroundings: Surroundings) -> bool:
    return surroundings.files.exists("/proc/driver/nvidia/version")


def runtime_match(surroundings: Surroundings) -> Outcome:
    """A driver runs programs of its own CUDA version and older; within a major version, newer
    ones as well (CUDA's minor version compatibility), apart from PTX that must be compiled."""
    if not surroundings.machine.gpus:
        return skipped(_NO_GPU)
    built_with = torch_cuda_version()
    if built_with is None:
        return failed(
            "the installed torch has no CUDA", "Install the CUDA build: pip install vllm torch."
        )
    supported = surroundings.machine.cuda_driver_version
    if not supported:
        return warned("the driver does not tell its CUDA version", "Update the NVIDIA driver.")
    detail = f"driver {surroundings.machine.driver_version} runs CUDA {supported}"
    if _numbers(supported)[0] < _numbers(built_with)[0]:
        return failed(
            f"{detail}, torch needs {built_with}",
            f"Update the NVIDIA driver to one for CUDA {built_with}.",
        )
    if _numbers(supported) < _numbers(built_with):
        return warned(
            f"{detail}, torch was built with {built_with}",
            f"Update the NVIDIA driver to one for CUDA {built_with}, should kernels not load.",
        )
    return passed(f"{detail}, torch needs {built_with}")


def torch_cuda_version() -> str | None:
    """The CUDA version that torch was built with, from its files; None for a CPU build."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b.*= '([\d.]+)'", text, re.MULTILINE)
    return found[1] if found else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def starts(surroundings: Surroundings) -> Outcome:
    """NVML may answer where CUDA does not start, so it is started."""
    if not surroundings.machine.gpus:
        return skipped(_NO_GPU)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _START_CUDA],
            env=dict(surroundings.environment),
            capture_output=True,
            text=True,
            timeout=_CUDA_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return failed(
            f"cuInit did not return in {_CUDA_TIMEOUT_S:g} s",
            "See dmesg for Xid errors; restart the machine if the driver hangs.",
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return failed(reason, "Install the driver's libcuda.so.1; a container needs GPU access.")
    answer = json.loads(done.stdout)
    if answer["error"]:
        code = answer["error"]
        why, remedy = _CUDA_ERRORS.get(
            code, ("see CUresult in cuda.h", "See dmesg; make nvidia-smi work first.")
        )
        return failed(f"CUDA error {code}: {why}", remedy)
    return passed(f"{answer['count']} device{'s' if answer['count'] != 1 else ''}")


_GROUP = "GPU"
CHECKS = (
    Check(
        _GROUP,
        "NVML",
        nvml,
        waits_for="the NVIDIA driver (NVML)",
        timeout_s=20,
        late=failed(
            "NVML did not answer in 20 s",
            "See dmesg for Xid errors; restart the machine if nvidia-smi hangs, too.",
        ),
    ),
    Check(_GROUP, "driver and CUDA", runtime_match),
    Check(
        _GROUP,
        "CUDA starts",
        starts,
        waits_for="cuInit of the NVIDIA driver",
        timeout_s=_CUDA_TIMEOUT_S + 5,
    ),
)
