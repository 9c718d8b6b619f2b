"""The sampler of one run: every source that the machine has."""

from collections.abc import Callable
from pathlib import Path

from hetctl.bench.telemetry.cpu import CpuSource
from hetctl.bench.telemetry.energy import EnergySource
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
    gpus = GpuSource(gpu.index for gpu in machine.gpus)
    sources = (gpus, CpuSource(server_pid), MemorySource(), EnergySource())
    return Sampler(sources, path, interval_s)
