"""The CSV file that a :class:`~hetctl.bench.telemetry.sampler.Sampler` left, read back."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hetctl.bench.telemetry.sampler import PHASE, TIME
from hetctl.errors import HetctlError


@dataclass(frozen=True)
class Window:
    """A span of time, in seconds since 1970."""

    begin_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s


@dataclass(frozen=True)
class Record:
    """Rows in the order they were taken; a missing figure is None."""

    times_s: tuple[float, ...]
    phases: tuple[str, ...]
    columns: dict[str, tuple[float | None, ...]]

    def window(self, phase: str, duration_s: float) -> Window | None:
        """The first ``duration_s`` of a phase; None if it never began.

        A row closes the time before it, so a phase begins with the last row of the one
        before. What comes after (the generator computes its figures) is not the phase's.
        """
        if phase not in self.phases:
            return None
        first = self.phases.index(phase)
        begin_s = self.times_s[max(0, first - 1)]
        return Window(begin_s, min(begin_s + duration_s, self.times_s[-1]))

    def readings(self, window: Window) -> int:
        """How many rows cover a part of the window."""
        return sum(
            since_s < window.end_s and at_s > window.begin_s
            for since_s, at_s in pairwise(self.times_s)
        )

    def values(self, column: str, window: Window) -> list[tuple[float, float]]:
        """``(value, seconds that it stands for)`` of the rows whose time is in the window."""
        found = []
        figures = self.columns.get(column, ())
        for (since_s, _), (at_s, value) in pairwise(zip(self.times_s, figures, strict=False)):
            within_s = min(at_s, window.end_s) - max(since_s, window.begin_s)
            if within_s > 0 and value is not None:
                found.append((value, within_s))
        return found

    def mean(self, column: str, window: Window) -> float | None:
        """Over time; None without a reading."""
        found = self.values(column, window)
        seconds = sum(s for _, s in found)
        return sum(value * s for value, s in found) / seconds if seconds else None

    def share(self, column: str, bits: int, window: Window) -> float | None:
        """Share of the time in which a bit mask had any of ``bits``."""
        found = self.values(column, window)
        seconds = sum(s for _, s in found)
        return sum(s for v, s in found if int(v) & bits) / seconds if seconds else None

    def largest(self, column: str, window: Window) -> float | None:
        return max((value for value, _ in self.values(column, window)), default=None)

    def smallest(self, column: str, window: Window) -> float | None:
        return min((value for value, _ in self.values(column, window)), default=None)

    def counted(self, column: str, window: Window) -> float | None:
        """By how much a counter rose over the window, from its nearest readings."""
        known = [
            (at_s, value)
            for at_s, value in zip(self.times_s, self.columns.get(column, ()), strict=False)
            if value is not None
        ]
        if len(known) < 2 or window.duration_s <= 0:
            return None
        rose = _at(known, window.end_s) - _at(known, window.begin_s)
        return max(0.0, rose)


def read_record(path: Path) -> Record:
    """Read the file; a last line that was cut short is left out.

    Raises:
        HetctlError: it is missing or not such a file.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
            if header[:2] != [TIME, PHASE]:
                raise ValueError(f"its first columns are not {TIME} and {PHASE}")
            whole = [line for line in lines if len(line) == len(header)]
            return Record(
                times_s=tuple(float(line[0]) for line in whole),
                phases=tuple(line[1] for line in whole),
                columns={
                    name: tuple(float(line[i]) if line[i] else None for line in whole)
                    for i, name in enumerate(header)
                    if i >= 2
                },
            )
    except OSError as error:
        raise HetctlError(f"Cannot read the telemetry {path}: {error.strerror}.") from error
    except ValueError as error:
        raise HetctlError(f"{path} is not telemetry of hetctl bench: {error}.") from error


def _at(known: Sequence[tuple[float, float]], time_s: float) -> float:
    """The counter at a time, on the line between the readings around it."""
    before = known[0]
    for after in known[1:]:
        if time_s <= after[0]:
            break
        before = after
    else:
        return known[-1][1]
    (t0, v0), (t1, v1) = before, after
    return v0 if t1 <= t0 else v0 + (v1 - v0) * max(0.0, time_s - t0) / (t1 - t0)
