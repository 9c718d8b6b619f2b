"""The real :class:`~hetctl.probe.gpu.GpuLibrary`: NVIDIA's management library, NVML.

NVML answers one question per call, and any of them may be unsupported on a device (a
Grace system has no PCIe link, a consumer card no MIG). Such a fact is None. A device that
does not answer at all, because it fell off the bus, is left out with a note.
"""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from hetctl.machine import Gpu, MigInstance, PcieLink
from hetctl.probe.gpu import GpuInventory, GpuLibraryError

_NODE_WORDS = 16
"""64-bit words in the NUMA node set that is asked for: 1,024 nodes, Linux' maximum."""


class NvmlLibrary:
    """Reads every device through ``pynvml``, the module of nvidia-ml-py."""

    def __init__(self, nvml: Any = None) -> None:
        """``nvml`` replaces the module; None imports it when it is read."""
        self._nvml = nvml

    def read(self) -> GpuInventory:
        nvml = open_nvml(self._nvml)
        try:
            return _inventory(nvml)
        except nvml.NVMLError as error:
            raise GpuLibraryError(f"NVML failed while it was asked for GPUs: {error}.") from error
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def open_nvml(nvml: Any = None) -> Any:
    """The ``pynvml`` module, or ``nvml`` in its place, ready for questions.

    The caller ends with ``nvmlShutdown``.

    Raises:
        GpuLibraryError: there is no driver, or it does not work.
    """
    nvml = nvml or _import_nvml()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise GpuLibraryError(_why_not(nvml, error)) from error
    return nvml


def _import_nvml() -> Any:
    try:
        with warnings.catch_warnings():
            # The deprecated package "pynvml" hooks this import to warn about itself.
            warnings.simplefilter("ignore", FutureWarning)
            return importlib.import_module("pynvml")
    except ImportError as error:
        raise GpuLibraryError(
            "GPUs were not looked for: the Python package nvidia-ml-py is not installed."
        ) from error


def _why_not(nvml: Any, error: Any) -> str:
    reasons = {
        nvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
            "No NVIDIA GPU: the driver's library libnvidia-ml.so.1 is not installed (in a "
            "container, start it with GPU access)."
        ),
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: (
            "No usable NVIDIA GPU: the driver is installed but not loaded; see whether "
            "nvidia-smi works."
        ),
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "No usable NVIDIA GPU: the driver's library and its kernel module have different "
            "versions; restart the machine to load the new driver."
        ),
    }
    return reasons.get(error.value, f"No usable NVIDIA GPU: NVML cannot start ({error}).")


def _inventory(nvml: Any) -> GpuInventory:
    devices: dict[int, Any] = {}
    gpus: dict[int, Gpu] = {}
    notes = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            devices[index] = nvml.nvmlDeviceGetHandleByIndex(index)
            gpus[index] = _gpu(nvml, index, devices[index])
        except nvml.NVMLError as error:
            notes.append(f"GPU {index} is left out: it does not answer ({error}).")
    peers = _nvlink_peers(nvml, {index: devices[index] for index in gpus})
    cuda = _ask(nvml, "nvmlSystemGetCudaDriverVersion")
    return GpuInventory(
        gpus=tuple(gpu.model_copy(update={"nvlink_peers": peers[i]}) for i, gpu in gpus.items()),
        driver_version=_ask(nvml, "nvmlSystemGetDriverVersion") or "",
        cuda_driver_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else "",
        notes=tuple(notes),
    )


def _gpu(nvml: Any, index: int, device: Any) -> Gpu:
    """One device.

    Raises:
        NVMLError: the device does not tell its name or its memory.
    """
    memory = nvml.nvmlDeviceGetMemoryInfo(device)
    pci = _ask(nvml, "nvmlDeviceGetPciInfo", device)
    mig_mode = _ask(nvml, "nvmlDeviceGetMigMode", device)
    mig = mig_mode is not None and mig_mode[0] == nvml.NVML_DEVICE_MIG_ENABLE
    return Gpu(
        index=index,
        name=nvml.nvmlDeviceGetName(device),
        uuid=_ask(nvml, "nvmlDeviceGetUUID", device) or "",
        memory_total_bytes=memory.total,
        memory_free_bytes=memory.free,
        compute_capability=_ask(nvml, "nvmlDeviceGetCudaComputeCapability", device),
        pcie=_pcie(nvml, device),
        # NVML writes the domain with eight digits, Linux with four.
        pci_bus_id=pci.busId.lower().removeprefix("0000") if pci else "",
        numa_node=_host_node(nvml, device),
        memory_numa_node=_ask(nvml, "nvmlDeviceGetNumaNodeId", device),
        mig_enabled=mig,
        mig_instances=tuple(_mig_instances(nvml, device)) if mig else (),
        memory_bus_bits=_ask(nvml, "nvmlDeviceGetMemoryBusWidth", device) or None,
        memory_clock_hz=_clock_hz(nvml, device, nvml.NVML_CLOCK_MEM),
        cuda_cores=_ask(nvml, "nvmlDeviceGetNumGpuCores", device) or None,
        sm_clock_hz=_clock_hz(nvml, device, nvml.NVML_CLOCK_SM),
    )


def _ask(nvml: Any, question: str, *arguments: Any) -> Any:
    """The answer, or None where this driver or device does not support the question.

    Raises:
        NVMLError: the device is lost, so no other answer can be had either.
    """
    try:
        return getattr(nvml, question)(*arguments)
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_UNINITIALIZED):
            raise
        return None


def _clock_hz(nvml: Any, device: Any, clock: int) -> int | None:
    megahertz = _ask(nvml, "nvmlDeviceGetMaxClockInfo", device, clock)
    return megahertz * 1_000_000 if megahertz else None


def _pcie(nvml: Any, device: Any) -> PcieLink | None:
    questions = {
        "generation_now": "nvmlDeviceGetCurrPcieLinkGeneration",
        "width_now": "nvmlDeviceGetCurrPcieLinkWidth",
        "generation_max": "nvmlDeviceGetMaxPcieLinkGeneration",
        "width_max": "nvmlDeviceGetMaxPcieLinkWidth",
    }
    answers = {name: _ask(nvml, question, device) or None for name, question in questions.items()}
    return PcieLink(**answers) if any(answers.values()) else None


def _host_node(nvml: Any, device: Any) -> int | None:
    """The node that the driver says is near; None where it names several or none."""
    words = _ask(
        nvml, "nvmlDeviceGetMemoryAffinity", device, _NODE_WORDS, nvml.NVML_AFFINITY_SCOPE_NODE
    )
    if words is None:
        return None
    nodes = [64 * w + bit for w, word in enumerate(words) for bit in range(64) if word >> bit & 1]
    return nodes[0] if len(nodes) == 1 else None


def _mig_instances(nvml: Any, device: Any) -> Iterator[MigInstance]:
    """The instances of a device in MIG mode; slots without one answer "not found"."""
    for slot in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", device) or 0):
        instance = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", device, slot)
        memory = instance and _ask(nvml, "nvmlDeviceGetMemoryInfo", instance)
        if memory:
            yield MigInstance(
                uuid=_ask(nvml, "nvmlDeviceGetUUID", instance) or "",
                memory_total_bytes=memory.total,
                memory_free_bytes=memory.free,
            )


def _nvlink_peers(nvml: Any, devices: dict[int, Any]) -> dict[int, tuple[int, ...]]:
    """GPUs that reach each other by NVLink, directly or through NVSwitch."""
    peers: dict[int, list[int]] = {index: [] for index in devices}
    for a, b in combinations(devices, 2):
        status = _ask(
            nvml,
            "nvmlDeviceGetP2PStatus",
            devices[a],
            devices[b],
            nvml.NVML_P2P_CAPS_INDEX_NVLINK,
        )
        if status == nvml.NVML_P2P_STATUS_OK:
            peers[a].append(b)
            peers[b].append(a)
    return {index: tuple(sorted(found)) for index, found in peers.items()}
