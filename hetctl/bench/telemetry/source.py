"""Where telemetry comes from: one small class per thing that can be asked."""

from collections.abc import Mapping
from typing import Protocol


class Source(Protocol):
    """Reads some figures of the machine, the same ones each time.

    Column names end in their unit; ``_energy_j`` and ``_total_bytes`` count up and never
    restart, all others are the value now or the mean since the reading before.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """What can be read here; the rest is left out."""

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each figure that cannot be read, or failed once."""

    def read(self) -> Mapping[str, float]:
        """The figures now, by column; one that cannot be had this time is missing."""

    def close(self) -> None:
        """Give back what the source holds."""
