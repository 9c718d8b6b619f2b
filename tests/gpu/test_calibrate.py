"""A real calibration on a machine with a GPU: every figure is there, and physically possible."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hetctl.machine_profile import (
    GpuProfile,
    MachineProfile,
    Measured,
    MeasuredByBytes,
    MeasuredByRows,
    NodeProfile,
)

pytestmark = pytest.mark.gpu

LIMIT_S = 180


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def profile(cache: Path) -> MachineProfile:
    """What ``hetctl probe --calibrate --json`` prints, within its three minutes."""
    # The CPU kernels stay where they are.
    kernels = os.environ.get("VLLM_HETERO_CACHE") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vllm_hetero"
    )
    done = subprocess.run(
        [sys.executable, "-m", "hetctl", "probe", "--calibrate", "--json"],
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "VLLM_HETERO_CACHE": kernels},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return MachineProfile.parse(done.stdout, "the output")


@pytest.fixture(scope="module")
def gpu(profile: MachineProfile) -> GpuProfile:
    return profile.gpus[0]


@pytest.fixture(scope="module")
def node(profile: MachineProfile) -> NodeProfile:
    return profile.numa_nodes[0]


def test_nothing_is_left_out(profile: MachineProfile, gpu: GpuProfile) -> None:
    assert profile.not_measured == ()
    left_out = {name for name in type(gpu).model_fields if getattr(gpu, name) is None}
    # One of the two attention figures; and a second GPU.
    assert left_out - {"device_to_device_bytes_per_s"} == {"attention_read_bytes_per_s"}
    assert (gpu.device_to_device_bytes_per_s is None) == (len(profile.gpus) == 1)


def test_a_node_has_its_hops_with_the_gpu(node: NodeProfile) -> None:
    assert node.hop_peer == "gpu"
    assert node.hop_s_by_bytes is not None
    assert node.all_reduce_s_by_bytes is not None
    assert node.memory_read_while_copying_bytes_per_s is not None


BOUNDS = {
    # From a laptop's GPU to two generations beyond the fastest there is.
    "memory_read_bytes_per_s": (1e11, 3e13),
    "matmul_bf16_flops": (1e13, 1e16),
    "matmul_fp16_flops": (1e13, 1e16),
    "matmul_fp32_flops": (2e12, 1e15),
    "host_to_device_bytes_per_s": (1e9, 1e12),
    "device_to_host_bytes_per_s": (1e9, 1e12),
    "device_to_device_bytes_per_s": (1e9, 2e12),
    "layer_overhead_s": (1e-6, 5e-4),
    "layer_overhead_eager_s": (1e-5, 5e-3),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_single_figures_are_possible(name: str, gpu: GpuProfile) -> None:
    figure: Measured | None = getattr(gpu, name)
    if figure is None:
        pytest.skip("one GPU has no other to copy to")
    low, high = BOUNDS[name]
    assert low < figure.low <= figure.high < high
    assert figure.samples >= 5


@pytest.mark.parametrize(
    "name",
    ["weight_read_bytes_per_s_by_rows", "attention_read_bytes_per_s_by_sequences"],
)
def test_kernels_read_no_faster_than_memory_and_caches(name: str, gpu: GpuProfile) -> None:
    table: MeasuredByRows = getattr(gpu, name)
    assert gpu.memory_read_bytes_per_s is not None
    for figure in table.values:
        assert 0 < figure.median < 1.3 * gpu.memory_read_bytes_per_s.median


def test_many_rows_reach_the_matrix_rate_and_no_more(gpu: GpuProfile) -> None:
    table = gpu.weight_read_bytes_per_s_by_rows
    assert table is not None
    assert gpu.matmul_bf16_flops is not None
    flops = table.rows[-1] * table.values[-1].median
    assert 0.2 * gpu.matmul_bf16_flops.median < flops < 1.3 * gpu.matmul_bf16_flops.median


def test_weights_over_the_link_come_no_faster_than_copies(gpu: GpuProfile) -> None:
    table = gpu.uva_read_bytes_per_s_by_rows
    assert table is not None
    assert gpu.host_to_device_bytes_per_s is not None
    assert all(
        figure.median < 1.2 * gpu.host_to_device_bytes_per_s.median for figure in table.values
    )


@pytest.mark.parametrize(
    "name",
    [name for name in GpuProfile.model_fields if name.endswith("_s_by_bytes")],
)
def test_copies_take_longer_the_more_is_copied(name: str, gpu: GpuProfile) -> None:
    assert_rising(getattr(gpu, name))


@pytest.mark.parametrize("name", ["hop_s_by_bytes", "all_reduce_s_by_bytes"])
def test_messages_take_longer_the_longer_they_are(name: str, node: NodeProfile) -> None:
    assert_rising(getattr(node, name))


def assert_rising(table: MeasuredByBytes) -> None:
    first, last = table.values[0].median, table.values[-1].median
    assert 1e-6 < first < 5e-3
    assert first < last < 5


def test_graphs_save_launches(gpu: GpuProfile) -> None:
    assert gpu.layer_overhead_s is not None
    assert gpu.layer_overhead_eager_s is not None
    assert gpu.layer_overhead_s.median < gpu.layer_overhead_eager_s.median


def test_a_plan_rests_on_it(profile: MachineProfile, cache: Path, llama_8b: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hetctl", "plan", str(llama_8b), "--json"],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prediction"]["rates"] == "measured"
