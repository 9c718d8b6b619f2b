"""A fake of the pynvml module that replays one dict of answers per device."""

from types import SimpleNamespace
from typing import Any

import pynvml

H200: dict[str, Any] = {
    "Name": "NVIDIA H200",
    "UUID": "GPU-4ae0",
    "MemoryInfo": SimpleNamespace(total=150754820096, free=150109880320),
    "CudaComputeCapability": (9, 0),
    "CurrPcieLinkGeneration": 5,
    "CurrPcieLinkWidth": 16,
    "MaxPcieLinkGeneration": 5,
    "MaxPcieLinkWidth": 16,
    "MigMode": [0, 0],
    "PciInfo": SimpleNamespace(busId="00000000:00:06.0"),
    "MemoryBusWidth": 6016,
    "NumGpuCores": 16896,
    "MaxClockInfo": 3201,
    "MemoryAffinity": [0b1] + [0] * 15,
}
"""As an H200 in a virtual machine answers; what is not listed is not supported there."""


class FakeNvml:
    """Answers ``nvmlDeviceGet<question>`` from one dict per device.

    A missing answer raises NotSupported, an ``NVMLError`` answer is raised. Constants are
    pynvml's own.
    """

    def __init__(
        self,
        *devices: dict[str, Any],
        init_error: int | None = None,
        linked: tuple[tuple[int, int], ...] = (),
    ) -> None:
        self._devices = devices
        self._init_error = init_error
        self._linked = linked
        self.is_open = False

    def nvmlInit(self) -> None:  # noqa: N802
        if self._init_error is not None:
            raise pynvml.NVMLError(self._init_error)
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "580.159.04"

    def nvmlSystemGetCudaDriverVersion(self) -> int:  # noqa: N802
        return 12090

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        device = self._devices[index]
        if "lost" in device:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return {**device, "index": index}

    def nvmlDeviceGetP2PStatus(self, a: Any, b: Any, kind: int) -> int:  # noqa: N802
        assert kind == pynvml.NVML_P2P_CAPS_INDEX_NVLINK
        linked = (a["index"], b["index"]) in self._linked
        return pynvml.NVML_P2P_STATUS_OK if linked else pynvml.NVML_P2P_STATUS_NOT_SUPPORTED

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, slot: int) -> Any:  # noqa: N802
        try:
            return device["instances"][slot]
        except IndexError:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND) from None

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDeviceGet"):
            return getattr(pynvml, name)

        def answer(device: dict[str, Any], *arguments: Any) -> Any:
            value = device.get(name.removeprefix("nvmlDeviceGet"))
            if callable(value):
                value = value(*arguments)
            if value is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if isinstance(value, pynvml.NVMLError):
                raise value
            return value

        return answer
