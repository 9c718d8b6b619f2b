"""One workload on one kind of machine, over commits, and where it changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby, pairwise
from statistics import median

from hetctl.bench.gate.changepoint import change_points
from hetctl.bench.gate.history import Entry
from hetctl.bench.metrics import Metric
from hetctl.bench.results import Load, Versions

_DIGITS = 8


@dataclass(frozen=True)
class Point:
    """A commit, with the figures of all runs that were made of it in a row."""

    git_commit: str | None
    started: datetime
    versions: Versions
    figures: dict[str, tuple[float, ...]]

    @property
    def label(self) -> str:
        """Seven digits of the commit, or the day where there is none."""
        if self.git_commit is None:
            return f"{self.started:%Y-%m-%d}"
        dirty = "-dirty" if self.git_commit.endswith("-dirty") else ""
        return self.git_commit.removesuffix("-dirty")[:7] + dirty


@dataclass(frozen=True)
class Series:
    """Points that may be compared with each other, oldest first."""

    model: str
    configuration: str
    load: Load
    fingerprint: str
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """Short and unique to the workload and machine; it is the name of a file."""
        identity = f"{self.model} {self.fingerprint} {self.load.model_dump_json()}"
        return f"{self.configuration}-{sha256(identity.encode()).hexdigest()[:_DIGITS]}"

    def medians(self, metric: Metric) -> tuple[float, ...]:
        """One figure per point: the median over its runs."""
        return tuple(median(point.figures[metric.key]) for point in self.points)

    def having(self, metrics: Sequence[Metric]) -> "Series":
        """Only the points that hold these metrics."""
        keys = {metric.key for metric in metrics}
        points = tuple(point for point in self.points if keys <= point.figures.keys())
        return Series(self.model, self.configuration, self.load, self.fingerprint, points)


@dataclass(frozen=True)
class Change:
    """A metric moved to another level."""

    metric: Metric
    at: int
    """Index of the first point of the new level."""
    point: Point
    before: Point
    """The last point of the old level; the cause lies after it."""
    old_level: float
    new_level: float
    """Medians over the points between this change and its neighbours."""

    @property
    def ratio(self) -> float:
        """New level over old level."""
        return self.new_level / self.old_level

    @property
    def worse(self) -> bool:
        return (self.ratio < 1) == self.metric.higher_is_better


def series_of(entries: Iterable[Entry]) -> tuple[Series, ...]:
    """Entries put together by machine, model, configuration and load; versions may change.

    Within a series, entries are in the order in which they were measured.
    """
    by_workload: dict[tuple[str, str, str, Load], list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.started):
        key = (entry.fingerprint, entry.model, entry.configuration, entry.load)
        by_workload.setdefault(key, []).append(entry)
    return tuple(
        Series(model, configuration, load, fingerprint, _points(found))
        for (fingerprint, model, configuration, load), found in by_workload.items()
    )


def changes(series: Series, metric: Metric) -> tuple[Change, ...]:
    """Where the level of a metric changed, oldest first."""
    values = series.medians(metric)
    cuts = change_points(values)
    bounds = [0, *cuts, len(values)]
    levels = [median(values[start:end]) for start, end in pairwise(bounds)]
    return tuple(
        Change(metric, at, series.points[at], series.points[at - 1], old, new)
        for at, (old, new) in zip(cuts, pairwise(levels), strict=True)
    )


def _points(entries: Sequence[Entry]) -> tuple[Point, ...]:
    """Entries of one commit in a row make one point."""
    points = []
    for commit, group in groupby(entries, key=lambda entry: entry.git_commit or entry.started):
        same = list(group)
        shared = set.intersection(*(set(entry.figures) for entry in same))
        points.append(
            Point(
                git_commit=commit if isinstance(commit, str) else None,
                started=same[0].started,
                versions=same[0].versions,
                figures={
                    key: tuple(value for entry in same for value in entry.figures[key])
                    for key in same[0].figures
                    if key in shared
                },
            )
        )
    return tuple(points)
