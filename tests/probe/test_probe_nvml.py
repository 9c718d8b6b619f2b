"""NVML's answers and errors, replayed at the level of the ``pynvml`` module."""

import sys
from types import SimpleNamespace

import pynvml
import pytest

from hetctl.machine import PcieLink
from hetctl.probe.gpu import GpuLibraryError
from hetctl.probe.nvml import NvmlLibrary
from hetctl.units import GIB
from tests.probe.fake_nvml import H200, FakeNvml


def test_a_recorded_h200() -> None:
    nvml = FakeNvml(H200)
    inventory = NvmlLibrary(nvml).read()
    (gpu,) = inventory.gpus
    assert (gpu.name, gpu.uuid, gpu.compute_capability) == ("NVIDIA H200", "GPU-4ae0", (9, 0))
    assert (gpu.memory_total_bytes, gpu.memory_free_bytes) == (150754820096, 150109880320)
    assert gpu.pcie == PcieLink(generation_now=5, width_now=16, generation_max=5, width_max=16)
    assert gpu.pci_bus_id == "0000:00:06.0"
    assert gpu.numa_node == 0
    assert gpu.memory_numa_node is None
    assert (gpu.memory_bus_bits, gpu.memory_clock_hz) == (6016, 3_201_000_000)
    assert (gpu.mig_enabled, gpu.nvlink_peers) == (False, ())
    assert (inventory.driver_version, inventory.cuda_driver_version) == ("580.159.04", "12.9")
    assert inventory.notes == ()
    assert not nvml.is_open


def test_a_device_that_supports_only_name_and_memory_is_still_listed() -> None:
    device = {name: H200[name] for name in ("Name", "MemoryInfo")}
    (gpu,) = NvmlLibrary(FakeNvml(device)).read().gpus
    assert gpu.name == "NVIDIA H200"
    assert (gpu.pcie, gpu.compute_capability, gpu.numa_node, gpu.uuid) == (None, None, None, "")


def test_grace_hopper_has_no_pcie_link_and_its_memory_is_a_node() -> None:
    device = {name: value for name, value in H200.items() if "Pcie" not in name}
    (gpu,) = NvmlLibrary(FakeNvml(device | {"NumaNodeId": 1})).read().gpus
    assert gpu.pcie is None
    assert gpu.memory_numa_node == 1


def test_an_affinity_to_several_nodes_tells_nothing() -> None:
    device = H200 | {"MemoryAffinity": [0b11] + [0] * 15}
    assert NvmlLibrary(FakeNvml(device)).read().gpus[0].numa_node is None


def test_a_lost_gpu_is_noted_and_the_others_stay() -> None:
    inventory = NvmlLibrary(FakeNvml(H200, {"lost": True}, H200)).read()
    assert [gpu.index for gpu in inventory.gpus] == [0, 2]
    assert "GPU 1 is left out" in inventory.notes[0]


def test_a_gpu_lost_while_it_is_read_is_noted() -> None:
    dying = H200 | {"PciInfo": pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)}
    inventory = NvmlLibrary(FakeNvml(dying, H200)).read()
    assert [gpu.index for gpu in inventory.gpus] == [1]
    assert "GPU 0 is left out" in inventory.notes[0]


def test_a_gpu_without_a_memory_figure_is_left_out() -> None:
    """As on systems whose GPU has no memory of its own (GB10)."""
    device = {name: value for name, value in H200.items() if name != "MemoryInfo"}
    inventory = NvmlLibrary(FakeNvml(device)).read()
    assert inventory.gpus == ()
    assert "GPU 0 is left out" in inventory.notes[0]


def test_mig_instances_are_listed() -> None:
    instance = {
        "UUID": "MIG-1",
        "MemoryInfo": SimpleNamespace(total=18 * GIB, free=17 * GIB),
    }
    device = H200 | {"MigMode": [1, 1], "MaxMigDeviceCount": 7, "instances": [instance]}
    (gpu,) = NvmlLibrary(FakeNvml(device)).read().gpus
    assert gpu.mig_enabled
    assert [(mig.uuid, mig.memory_total_bytes) for mig in gpu.mig_instances] == [
        ("MIG-1", 18 * GIB)
    ]


def test_nvlink_peers_are_mutual() -> None:
    nvml = FakeNvml(H200, H200, H200, linked=((0, 2),))
    assert [gpu.nvlink_peers for gpu in NvmlLibrary(nvml).read().gpus] == [(2,), (), (0,)]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "libnvidia-ml.so.1 is not installed"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "restart the machine"),
        (pynvml.NVML_ERROR_UNKNOWN, "Unknown Error"),
    ],
)
def test_why_nvml_does_not_start(code: int, words: str) -> None:
    with pytest.raises(GpuLibraryError, match=words):
        NvmlLibrary(FakeNvml(init_error=code)).read()


def test_missing_bindings_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(GpuLibraryError, match="nvidia-ml-py is not installed"):
        NvmlLibrary().read()


def test_nvml_is_closed_when_it_fails() -> None:
    nvml = FakeNvml(H200)
    failure = pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    def fail() -> int:
        raise failure

    nvml.nvmlDeviceGetCount = fail  # type: ignore[method-assign]
    with pytest.raises(GpuLibraryError, match="NVML failed"):
        NvmlLibrary(nvml).read()
    assert not nvml.is_open
