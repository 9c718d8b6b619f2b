"""The sampler of one run: every source that the machine has."""

from collections.abc import Callable
from pathlib import Path

from hetctl.bench.telemetry.cpu import CpuSource
from hetctl.bench.telemetry.energy import EnergySource
from hetctl.bench.telemetry.foreign_gpu import ForeignGpuSource
from hetctl.bench.telemetry.gpu import GpuSource
from hetctl.bench.telemetry.memory import MemorySource
from hetctl.bench.telemetry.sampler import INTERVAL_S, Sampler
from hetctl.machine import Machine


def run_sampler(
    machine: Machine,
    server_pid: Callable[[], int | None] | None,
    path: Path,
    interval_s: float = INTERVAL_S,
) -> Sampler:
    """Samples the GPUs that ``machine`` names and this host, into ``path``.

    Args:
        server_pid: see :class:`~hetctl.bench.telemetry.cpu.CpuSource`.
    """
    gpus = [gpu.index for gpu in machine.gpus]
    others = ForeignGpuSource(gpus, server_pid()) if server_pid else None
    sources = (GpuSource(gpus), others, CpuSource(server_pid), MemorySource(), EnergySource())
    return Sampler([source for source in sources if source is not None], path, interval_s)
