"""One model on one machine under a range of loads: what ``hetctl plan --sweep`` writes."""

from typing import ClassVar, Literal

from pydantic import PositiveInt

from hetctl.document import Document, Frozen
from hetctl.plan import RankedStrategy
from hetctl.workload import Workload

SweepField = Literal["concurrency", "input_len", "output_len"]


class SweepPoint(Frozen):
    """Every strategy under one load; none is chosen where nothing fits."""

    workload: Workload
    ranking: tuple[RankedStrategy, ...]
    """As of a plan."""

    @property
    def chosen(self) -> RankedStrategy | None:
        return next((entry for entry in self.ranking if entry.chosen), None)


class Sweep(Document):
    """The same plan for each value of one field of the workload."""

    KIND: ClassVar[str] = "hetctl.sweep"

    model: str
    """Folder or hub id."""
    machine_fingerprint: str
    """Of the machine that it was planned for."""
    field: SweepField
    """What varies."""
    values: tuple[PositiveInt, ...]
    """What it takes, in this order."""
    points: tuple[SweepPoint, ...]
    """One per value."""
