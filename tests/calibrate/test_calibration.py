"""A calibration with real processes that answer at once, well or badly."""

import os
from pathlib import Path

import psutil
import pytest

from hetctl.calibrate.calibration import Calibration
from hetctl.calibrate.ranks import ranks_of
from hetctl.calibrate.steps import Step
from hetctl.errors import HetctlError
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode
from hetctl.machine_profile import MachineProfile
from hetctl.units import GIB

CPUS = sorted(os.sched_getaffinity(0))


def machine(gpus: int = 1, nodes: int = 1) -> Machine:
    """Of this machine's CPUs, all on each node, and of GPUs that it may not have."""
    cores = tuple(Core(cpus=(cpu,)) for cpu in CPUS)
    return Machine(
        fingerprint="test",
        kernel="6.1",
        driver_version="580",
        cpu=Cpu(model="a CPU"),
        numa_nodes=tuple(
            NumaNode(id=i, cores=cores, memory_total_bytes=8 * GIB, memory_free_bytes=8 * GIB)
            for i in range(nodes)
        ),
        gpus=tuple(
            Gpu(
                index=i,
                name="a GPU",
                memory_total_bytes=8 * GIB,
                memory_free_bytes=8 * GIB,
                numa_node=i % nodes,
            )
            for i in range(gpus)
        ),
    )


def calibrated(tmp_path: Path, where: Machine, limit_s: float = 60) -> MachineProfile:
    return Calibration(where, tmp_path, limit_s=limit_s).run()


pytestmark = pytest.mark.usefixtures("fake_ranks")


def test_samples_become_medians_with_their_spread(tmp_path: Path) -> None:
    profile = calibrated(tmp_path, machine())
    assert profile.not_measured == ()
    assert profile.tool_versions["kernel"] == "6.1"
    assert "torch" in profile.tool_versions
    node, gpu = profile.numa_nodes[0], profile.gpus[0]
    read = node.memory_read_bytes_per_s
    assert read is not None
    assert (read.median, read.low, read.high, read.samples) == (2e10, 1e10, 4e10, 3)
    weights = node.weight_read_bytes_per_s_by_rows
    assert weights is not None
    assert (weights.rows, weights.values[0].median) == ((1, 8), 2e9)
    # 8 rows x 1e9 bytes per second; a byte of bf16 is one FLOP per row, of fp32 half of one.
    assert node.matmul_bf16_flops is not None
    assert node.matmul_fp32_flops is not None
    assert (node.matmul_bf16_flops.median, node.matmul_fp32_flops.median) == (8e9, 4e9)
    assert gpu.host_to_device_bytes_per_s is not None
    assert gpu.host_to_device_bytes_per_s.median == pytest.approx(1e9)
    assert node.hop_peer == "gpu"
    assert node.hop_s_by_bytes is not None
    assert node.hop_s_by_bytes.sizes_bytes == (8192, 1000000)


def test_every_device_and_every_pair_of_nodes_is_measured(tmp_path: Path) -> None:
    profile = calibrated(tmp_path, machine(gpus=2, nodes=2))
    assert [gpu.index for gpu in profile.gpus] == [0, 1]
    assert all(gpu.device_to_device_bytes_per_s for gpu in profile.gpus)
    assert [set(node.memory_read_bytes_per_s_by_node) for node in profile.numa_nodes] == [{1}, {0}]
    assert all(node.all_reduce_s_by_bytes for node in profile.numa_nodes)


@pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")
def test_without_gpus_two_ranks_share_the_only_node(tmp_path: Path) -> None:
    where = machine(gpus=0)
    halves = ranks_of(where).halves_map.ranks
    assert not set(halves[0].cpus) & set(halves[1].cpus)
    node = calibrated(tmp_path, where).numa_nodes[0]
    assert node.hop_peer == "cpu"
    assert node.hop_s_by_bytes is not None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("matrix=error", "it cannot be done"),
        ("matrix=absurd", "a figure that cannot be: 1e+30 FLOP/s is more than can be"),
        ("matrix=die", "its process ended with code 7 while matrix rate in bf16 on cuda:0: Fatal"),
        ("matrix=kill", "its process was ended by SIGKILL while matrix rate in bf16"),
    ],
)
def test_a_failure_is_named_and_the_rest_is_kept(
    wrong: str, reason: str, tmp_path: Path, fake_ranks: pytest.MonkeyPatch
) -> None:
    fake_ranks.setenv("FAKE_RANK", wrong)
    profile = calibrated(tmp_path, machine())
    assert [(one.device, one.what) for one in profile.not_measured] == [
        ("cuda:0", f"matrix rate in {dtype}") for dtype in ("bf16", "fp16", "fp32")
    ]
    assert reason in profile.not_measured[0].reason
    gpu = profile.gpus[0]
    assert gpu.matmul_bf16_flops is None
    # Measured before and after.
    assert gpu.memory_read_bytes_per_s is not None
    assert gpu.layer_overhead_s is not None


def test_what_does_not_answer_is_named_after_its_time(
    tmp_path: Path, fake_ranks: pytest.MonkeyPatch
) -> None:
    fake_ranks.setenv("FAKE_RANK", "layer-in-graph=hang")
    profile = calibrated(tmp_path, machine(), limit_s=1.5)
    first, *others = profile.not_measured
    assert (first.device, first.what) == ("cuda:0", "overhead of a layer, CUDA graphs")
    assert "no answer within" in first.reason
    assert "of overhead of a layer, CUDA graphs on cuda:0" in first.reason
    assert others
    assert all("the 2 s for all of it were used up" in one.reason for one in others)
    assert profile.gpus[0].memory_read_bytes_per_s is not None


def test_a_message_that_one_side_loses_ends_both(
    tmp_path: Path, fake_ranks: pytest.MonkeyPatch
) -> None:
    fake_ranks.setenv("FAKE_RANK", "hop=die")
    profile = calibrated(tmp_path, machine())
    assert [one.what for one in profile.not_measured] == ["hop with cuda:0"]
    node = profile.numa_nodes[0]
    assert node.hop_s_by_bytes is None
    assert node.all_reduce_s_by_bytes is not None


def test_without_cpu_kernels_memory_is_still_measured(tmp_path: Path) -> None:
    calibration = Calibration(
        machine(gpus=0), tmp_path, without_cpu_kernels="no network, no kernels"
    )
    profile = calibration.run()
    assert {one.reason for one in profile.not_measured} == {"no network, no kernels"}
    assert profile.numa_nodes[0].memory_read_bytes_per_s is not None
    assert profile.numa_nodes[0].weight_read_bytes_per_s_by_rows is None


def test_nothing_measured_is_an_error_that_says_why(
    tmp_path: Path, fake_ranks: pytest.MonkeyPatch
) -> None:
    fake_ranks.setattr("hetctl.calibrate.rank_process.PROGRAM", ("false",))
    with pytest.raises(HetctlError, match=r"nothing was saved: .*cuda:0: its process ended with"):
        calibrated(tmp_path, machine())


def test_no_process_stays_behind_whatever_happens(
    tmp_path: Path, fake_ranks: pytest.MonkeyPatch
) -> None:
    fake_ranks.setenv("FAKE_RANK", "memory=hang")
    before = {child.pid for child in psutil.Process().children()}

    def interrupt(step: Step, position: int, of: int) -> None:
        if step.what == "memory read rate":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Calibration(machine(), tmp_path, interrupt).run()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_ranks_of_a_node_take_the_cores_of_a_plan() -> None:
    cores = tuple(Core(cpus=(cpu, cpu + 8)) for cpu in range(8))
    where = machine()
    node = where.numa_nodes[0].model_copy(update={"cores": cores})
    rank = ranks_of(where.model_copy(update={"numa_nodes": (node,)})).map.ranks[1]
    assert (rank.numa_node, rank.cpus) == (0, (2, 3, 4, 5, 6, 7))
