"""GPUs through NVML: clocks, power, temperature, memory, utilisation, energy, throttling.

Any question may be unsupported (MIG has no utilisation, some virtual machines no energy
counter). Its column is then left out, and named in a note.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hetctl.probe.gpu import GpuLibraryError
from hetctl.probe.nvml import open_nvml

Question = Callable[[Any, Any], float]
"""Asks the pynvml module about a device handle; raises NVMLError."""


def _reasons(nvml: Any, device: Any) -> float:
    """Why the clocks are lower than they could be, as a bit mask."""
    try:
        return float(nvml.nvmlDeviceGetCurrentClocksEventReasons(device))
    except (nvml.NVMLError, AttributeError):
        # What drivers before 535 and older bindings call it.
        return float(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device))


QUESTIONS: dict[str, Question] = {
    "sm_clock_hz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) * 1e6,
    "memory_clock_hz": lambda nvml, gpu: (
        nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM) * 1e6
    ),
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
    "temperature_c": lambda nvml, gpu: float(
        nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)
    ),
    "memory_used_bytes": lambda nvml, gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used),
    "busy_share": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "memory_busy_share": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).memory / 100,
    "energy_j": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
    "throttle_reasons": _reasons,
}
"""What each GPU is asked, by the end of the column's name; NVML's units to base units."""


class GpuSource:
    """The GPUs of these NVML indices; without a driver, none and a note."""

    def __init__(self, indices: Iterable[int], nvml: Any = None) -> None:
        """``nvml`` replaces the pynvml module."""
        self._notes: dict[str, None] = {}
        self._asked: dict[str, tuple[Question, Any]] = {}
        self._nvml: Any = None
        wanted = tuple(indices)
        if not wanted:
            return
        try:
            self._nvml = open_nvml(nvml)
        except GpuLibraryError as error:
            self._note(f"GPUs were not sampled: {error}")
            return
        for index in wanted:
            self._find_out(index)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._asked)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def read(self) -> Mapping[str, float]:
        figures = {}
        for column, (ask, device) in self._asked.items():
            try:
                figures[column] = ask(self._nvml, device)
            except self._nvml.NVMLError as error:
                self._note(f"{column} failed during the run ({error}).")
        return figures

    def close(self) -> None:
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml, self._asked = None, {}

    def _find_out(self, index: int) -> None:
        """Ask everything once; what fails now is not asked again."""
        nvml = self._nvml
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError as error:
            self._note(f"GPU {index} was not sampled: it does not answer ({error}).")
            return
        silent: dict[str, list[str]] = {}
        for name, ask in QUESTIONS.items():
            try:
                ask(nvml, device)
            except (nvml.NVMLError, AttributeError) as error:
                silent.setdefault(str(error), []).append(name)
            else:
                self._asked[f"gpu{index}_{name}"] = ask, device
        for error_text, names in silent.items():
            self._note(f"GPU {index} does not tell {', '.join(names)} ({error_text}).")

    def _note(self, text: str) -> None:
        self._notes[text] = None
