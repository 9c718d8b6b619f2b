"""What other programs do on the GPUs while the server is under load.

NVML tells how busy each process keeps a GPU. A process is the server's when it is in the session
that the server leads; in a container, NVML may number processes as the host does, and then none
is found to be the server's, and nothing can be told.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hetctl.probe.gpu import GpuLibraryError
from hetctl.probe.nvml import open_nvml

COLUMN = "foreign_busy_share"


class ForeignGpuSource:
    """Share of the time that others' kernels ran on the GPUs that the server is on.

    Args:
        indices: NVML's numbers of the GPUs.
        leader: the process that leads the server's session, which runs already.
        session_of: the session of a process; raises OSError where there is none. Replaces the
            system's.
        nvml: replaces the pynvml module.
    """

    def __init__(
        self,
        indices: Iterable[int],
        leader: int | None,
        session_of: Callable[[int], int] = os.getsid,
        nvml: Any = None,
    ) -> None:
        self._leader, self._session_of = leader, session_of
        self._notes: dict[str, None] = {}
        self._devices: dict[int, Any] = {}
        self._seen_us = dict.fromkeys(indices, time.time_ns() // 1000)
        self._nvml: Any = None
        if leader is None or not self._seen_us:
            return
        # Without NVML, the source of the GPUs' own figures says so.
        with contextlib.suppress(GpuLibraryError):
            self._nvml = open_nvml(nvml)
            for index in self._seen_us:
                self._find_out(index)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"gpu{index}_{COLUMN}" for index in self._devices)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def read(self) -> Mapping[str, float]:
        figures = {}
        for index, device in self._devices.items():
            try:
                figures[f"gpu{index}_{COLUMN}"] = self._foreign_share(index, device)
            except self._nvml.NVMLError as error:
                self._note(f"Foreign load on GPU {index} could not be read ({error}).")
        return figures

    def close(self) -> None:
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml, self._devices = None, {}

    def _find_out(self, index: int) -> None:
        nvml = self._nvml
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            running = nvml.nvmlDeviceGetComputeRunningProcesses(device)
            self._samples(device, self._seen_us[index])
        except (nvml.NVMLError, AttributeError) as error:
            self._note(f"Foreign load on GPU {index} during the run cannot be told ({error}).")
            return
        if any(self._is_servers(process.pid) for process in running):
            self._devices[index] = device
        else:
            self._note(
                f"NVML shows no process of the server on GPU {index}, so foreign load there during "
                "the run is not told."
            )

    def _foreign_share(self, index: int, device: Any) -> float:
        """Over the processes that were active since the reading before, each by its last sample."""
        latest: dict[int, float] = {}
        for sample in self._samples(device, self._seen_us[index]):
            self._seen_us[index] = max(self._seen_us[index], sample.timeStamp)
            latest[sample.pid] = sample.smUtil / 100  # NVML's are percents.
        foreign = sum(share for pid, share in latest.items() if not self._is_servers(pid))
        return min(1.0, foreign)

    def _samples(self, device: Any, since_us: int) -> Iterable[Any]:
        """Of each process that was active since then."""
        try:
            found: Iterable[Any] = self._nvml.nvmlDeviceGetProcessUtilization(device, since_us)
        except self._nvml.NVMLError_NotFound:
            return ()
        return found

    def _is_servers(self, pid: int) -> bool:
        try:
            return self._session_of(pid) == self._leader
        except OSError:
            return False

    def _note(self, text: str) -> None:
        self._notes[text] = None
