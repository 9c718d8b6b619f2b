"""How busy the CPUs and GPUs of a server's ranks are, as this machine tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from hetctl.bench.telemetry.cpu import CpuSource
from hetctl.bench.telemetry.gpu import GpuSource
from hetctl.plan import Plan, RankPlan

_GPU = "cuda:"


@dataclass(frozen=True)
class Use:
    """By rank; without those of which nothing is known."""

    loads: Mapping[int, float] = field(default_factory=dict)
    """Share of the time since the reading before for which its CPUs, or its GPU, were busy."""
    gpu_memory_bytes: Mapping[int, float] = field(default_factory=dict)
    """Used of its GPU, by all processes."""


class MachineUse:
    """Of the ranks of a plan that runs on this machine.

    Args:
        plan: What runs.
        nvml: Replaces the pynvml module.
    """

    def __init__(self, plan: Plan, nvml: Any = None) -> None:
        self._ranks = plan.ranks
        self._cpus = CpuSource(cpus={cpu for rank in plan.ranks for cpu in rank.cpus})
        gpus = (_index(rank) for rank in plan.ranks if rank.device.startswith(_GPU))
        self._gpus = GpuSource(gpus, nvml)

    def read(self) -> Use:
        """Now; loads since the last call."""
        figures = {**self._cpus.read(), **self._gpus.read()}
        loads = {rank.rank: _load(rank, figures) for rank in self._ranks}
        memory = {rank.rank: figures.get(_gpu(rank, "memory_used_bytes")) for rank in self._ranks}
        return Use(_known(loads), _known(memory))

    def close(self) -> None:
        self._cpus.close()
        self._gpus.close()


def _known(values: Mapping[int, float | None]) -> dict[int, float]:
    return {rank: value for rank, value in values.items() if value is not None}


def _index(rank: RankPlan) -> int:
    return int(rank.device.removeprefix(_GPU))


def _gpu(rank: RankPlan, figure: str) -> str:
    """The name of a GPU's figure; of a CPU rank there is none."""
    return f"gpu{_index(rank)}_{figure}" if rank.device.startswith(_GPU) else ""


def _load(rank: RankPlan, figures: Mapping[str, float]) -> float | None:
    if rank.device.startswith(_GPU):
        return figures.get(_gpu(rank, "busy_share"))
    names = [f"cpu{cpu}_load" for cpu in rank.cpus]
    found = [figures[name] for name in names if name in figures]
    return fmean(found) if found else None
