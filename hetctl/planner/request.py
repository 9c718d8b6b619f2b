"""What a person asks of a plan, beyond model, machine and workload."""

from dataclasses import dataclass, field
from typing import Literal

from hetctl.errors import UsageError
from hetctl.plan import STRATEGIES, Strategy
from hetctl.planner.evidence import NO_EVIDENCE, Evidence
from hetctl.planner.objective import Goal

Split = Literal["auto", "none"] | tuple[int, ...]

# vLLM's own default of --gpu-memory-utilization is 0.92 as of 0.26; hetctl plans before
# anything is profiled, so it keeps a little more back.
DEFAULT_GPU_MEMORY_UTILIZATION = 0.9


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """Constraints on the split; the defaults leave everything to the planner.

    Attributes:
        split: ``auto`` for the fastest, ``none`` for one device, or layers per stage.
        devices: Devices that may be used, in pipeline order (``cuda:N``, ``cpu``), or
            None for all of them, GPUs first or CPUs first.
        cpu_ranks: CPU ranks that must be used, 0 for none, or None for one per NUMA node
            where that helps.
        gpu_memory_bytes: Pretend that every GPU has only this much memory.
        gpu_memory_utilization: Share of a GPU's memory that vLLM may take.
        strategy: ``auto`` for the best one, or the only one to consider.
        goal: What to be best at, and limits to keep.
        evidence: Past runs on the machine, to correct predictions by.
    """

    split: Split = "auto"
    devices: tuple[str, ...] | None = None
    cpu_ranks: int | None = None
    gpu_memory_bytes: int | None = None
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION
    strategy: Strategy | Literal["auto"] = "auto"
    goal: Goal = field(default_factory=Goal)
    evidence: Evidence = NO_EVIDENCE

    def __post_init__(self) -> None:
        if not 0 < self.gpu_memory_utilization <= 1:
            raise UsageError(
                f"A GPU memory utilization of {self.gpu_memory_utilization} is not above 0 "
                f"and at most 1."
            )
        if self.cpu_ranks is not None and self.cpu_ranks < 0:
            raise UsageError(f"--cpu-ranks {self.cpu_ranks} is negative; take 0 or more.")
        if self.strategy != "auto" and self.split != "auto":
            raise UsageError("Give --strategy or --split, not both: a split is a strategy.")
        if isinstance(self.split, tuple):
            bad = next((count for count in self.split if count < 1), None)
            if bad is not None or not self.split:
                raise UsageError(
                    f"--split {','.join(map(str, self.split))} gives a stage {bad} layers; "
                    f"each stage needs at least 1."
                )


def parse_split(text: str) -> Split:
    """``auto``, ``none``, or layers per stage such as ``8,24``.

    Raises:
        UsageError: anything else.
    """
    if text == "auto":
        return "auto"
    if text == "none":
        return "none"
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--split {text!r} is not auto, none or layers per stage such as 8,24."
        ) from None


def parse_strategy(text: str) -> Strategy | Literal["auto"]:
    """``auto``, or a strategy.

    Raises:
        UsageError: anything else.
    """
    if text == "auto":
        return "auto"
    for strategy in STRATEGIES:
        if text == strategy:
            return strategy
    raise UsageError(f"--strategy {text!r} is none of auto, {', '.join(STRATEGIES)}.")


def parse_devices(text: str) -> tuple[str, ...]:
    """Device names in pipeline order, such as ``cpu,cuda:0``.

    Raises:
        UsageError: a name that is not ``cpu`` or ``cuda:N``, or a GPU named twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name != "cpu" and not (name.startswith("cuda:") and name[5:].isdecimal()):
            raise UsageError(f"--devices: {name!r} is not a device; write cpu or cuda:N.")
        if name != "cpu" and names.count(name) > 1:
            raise UsageError(f"--devices names {name} twice; one rank owns a whole GPU.")
    return names
