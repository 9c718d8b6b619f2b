"""How many runs of a side were marked: under foreign load, or throttled.

A marked run counts like any other. One in five hardly moves a median; more of them, and the two
sides may differ because of the machine.
"""

from dataclasses import dataclass

from hetctl.bench.results import Run

TOLERATED_SHARE = 0.2
"""Of a side's runs: one of five, two of ten. More runs make good for what was disturbed."""


@dataclass(frozen=True)
class Disturbance:
    """The marks on the runs of one side."""

    side: str
    """``BASE`` or ``CURRENT``."""
    runs: tuple[Run, ...]

    @property
    def marked(self) -> tuple[Run, ...]:
        return tuple(
            run for run in self.runs if run.telemetry_digest and run.telemetry_digest.marks
        )

    @property
    def leaves_doubt(self) -> bool:
        return len(self.marked) > TOLERATED_SHARE * len(self.runs)

    @property
    def clause(self) -> str:
        """``2 of 5 runs of CURRENT were disturbed``."""
        verb = "were" if len(self.marked) > 1 else "was"
        return f"{len(self.marked)} of {len(self.runs)} runs of {self.side} {verb} disturbed"

    @property
    def note(self) -> str:
        """The clause with what was seen: of each kind of mark the first."""
        seen = {
            mark.kind: f"run {run.repeat}: {mark.text}"
            for run in reversed(self.marked)
            if run.telemetry_digest
            for mark in run.telemetry_digest.marks
        }
        return f"{self.clause} ({'; '.join(seen.values())})."
