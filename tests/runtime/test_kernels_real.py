"""The pinned wheel on the real index installs, and this machine's vLLM loads it."""

import subprocess
import sys
from pathlib import Path

import pytest

from vllm_hetero import kernels

pytestmark = pytest.mark.engine

# What a CPU rank does, in a process of its own: the operators cannot be unloaded.
LOAD = """
import sys
import torch
import vllm
from vllm.platforms.cpu import CpuPlatform

vllm.__path__.append(sys.argv[1])
CpuPlatform.import_kernels()
assert hasattr(torch.ops._C, "cpu_attention_with_kv_cache")

# A rank over several nodes, of which this machine may have one; after vLLM's worker bound it.
from vllm_hetero.compute_threads import interleave_memory, memory_binding
torch.ops._C.init_cpu_memory_env([0])
assert memory_binding() == "bound to NUMA node 0", memory_binding()
interleave_memory((0, 0))
assert memory_binding() == "interleaved over NUMA nodes 0", memory_binding()

loaded = {line.split()[-1] for line in open("/proc/self/maps") if sys.argv[1] in line}
print(*loaded)
"""


def test_the_pinned_wheel_installs_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("VLLM_HETERO_KERNELS_WHEEL", "VLLM_HETERO_KERNELS_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VLLM_HETERO_CACHE", str(tmp_path))
    folder = kernels.ensure_kernels()
    status = kernels.status()
    assert status.installed
    assert status.pinned

    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    # vLLM chooses by torch's own CPU detection; ours must agree with it.
    assert result.stdout.split()[-1] == str(folder / f"{status.required_module}.abi3.so")
