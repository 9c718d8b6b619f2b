"""What a plan is to be best at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hetctl.errors import UsageError
from hetctl.plan import Prediction
from hetctl.units import format_duration
from hetctl.workload import Workload

Objective = Literal["throughput", "latency"]
OBJECTIVES: tuple[Objective, ...] = ("throughput", "latency")


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective, and limits that a plan must keep.

    Attributes:
        objective: ``throughput`` is tokens per second of the workload's concurrent requests;
            ``latency`` is the time of a request that runs alone, with memory for the
            concurrent ones.
        ttft_s: Most seconds to the first token, under the workload's concurrency.
        tpot_s: Most seconds between tokens.
    """

    objective: Objective = "throughput"
    ttft_s: float | None = None
    tpot_s: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("--ttft", self.ttft_s), ("--tpot", self.tpot_s)):
            if limit is not None and not 0 < limit < float("inf"):
                raise UsageError(f"{name} {limit:g} is not a time above 0.")

    @property
    def limited(self) -> bool:
        return self.ttft_s is not None or self.tpot_s is not None

    def load(self, workload: Workload) -> Workload:
        """The load under which times are to be least."""
        if self.objective == "latency":
            return workload.model_copy(update={"concurrency": 1})
        return workload

    def met_by(self, found: Prediction) -> bool:
        """Whether a prediction keeps the limits."""
        return self.key(0.0, found.ttft_s, found.tpot_s)[0] <= 1

    def key(self, objective_s: float, ttft_s: float, tpot_s: float) -> tuple[float, float]:
        """What plans are compared by: how far they are from the limits, then the objective."""
        over_ttft = ttft_s / self.ttft_s if self.ttft_s else 0.0
        over_tpot = tpot_s / self.tpot_s if self.tpot_s else 0.0
        return max(1.0, over_ttft, over_tpot), objective_s

    def limits(self) -> str:
        """``TTFT of at most 2.00 s and TPOT of at most 80.0 ms``."""
        parts: Sequence[str] = [
            f"{name} of at most {format_duration(limit)}"
            for name, limit in (("TTFT", self.ttft_s), ("TPOT", self.tpot_s))
            if limit is not None
        ]
        return " and ".join(parts)


def parse_goal(objective: str, *, ttft_s: float | None = None, tpot_s: float | None = None) -> Goal:
    """A goal from an objective's name.

    Raises:
        UsageError: no such objective, or a limit that is not above 0.
    """
    for known in OBJECTIVES:
        if objective == known:
            return Goal(known, ttft_s, tpot_s)
    raise UsageError(f"--objective {objective!r} is not {' or '.join(OBJECTIVES)}.")
