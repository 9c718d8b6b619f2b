"""Energy of CPU packages and their DRAM, from the counters that RAPL gives to powercap.

The kernel lets only root read them unless the administrator allows more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_MICROJOULE = 1e-6


@dataclass
class _Counter:
    column: str
    path: Path
    range_uj: int
    before_uj: int
    """Where the counter stood; it starts over after ``range_uj``."""
    used_j: float = 0.0

    def advance(self) -> float:
        """Joules since the source was made."""
        now_uj = int(self.path.read_text(encoding="ascii"))
        spent_uj = now_uj - self.before_uj
        if spent_uj < 0:
            spent_uj += self.range_uj
        self.before_uj = now_uj
        self.used_j += spent_uj * _MICROJOULE
        return self.used_j


class EnergySource:
    """Joules of all packages together (``cpu_package_energy_j``) and of their DRAM domains."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.notes: tuple[str, ...] = ()
        self._counters = tuple(self._find(root / "sys/class/powercap"))
        self.columns = tuple(dict.fromkeys(counter.column for counter in self._counters))
        if not self._counters and not self.notes:
            self.notes = ("The kernel gives no CPU energy counter (RAPL).",)

    def read(self) -> Mapping[str, float]:
        figures: dict[str, float] = dict.fromkeys(self.columns, 0.0)
        broken = set()
        for counter in self._counters:
            try:
                figures[counter.column] += counter.advance()
            except (OSError, ValueError):
                # A sum that lacks a package would be wrong.
                broken.add(counter.column)
        return {column: value for column, value in figures.items() if column not in broken}

    def close(self) -> None:
        pass

    def _find(self, powercap: Path) -> Iterator[_Counter]:
        columns = {"package": "cpu_package_energy_j", "dram": "dram_energy_j"}
        # intel-rapl is the name on AMD, too; intel-rapl-mmio shows the same packages again.
        for domain in sorted(powercap.glob("intel-rapl:*")):
            try:
                name = (domain / "name").read_text(encoding="ascii").strip().partition("-")[0]
                if name in columns:
                    now_uj, range_uj = (
                        int((domain / file).read_text(encoding="ascii"))
                        for file in ("energy_uj", "max_energy_range_uj")
                    )
                    yield _Counter(columns[name], domain / "energy_uj", range_uj, now_uj)
            except PermissionError:
                self.notes = ("CPU energy (RAPL) is there, but only root may read it.",)
            except (OSError, ValueError):
                continue
