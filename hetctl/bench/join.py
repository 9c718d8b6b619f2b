"""Several benchmarks of the same thing in one report: before and after, here and there."""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import TypeVar

from hetctl.bench.circumstances import Aspect, Difference, circumstances
from hetctl.bench.results import Configuration, FailedRun, Joined, Load, Results, Run
from hetctl.errors import UsageError

_POINT_FIELDS = ("max_concurrency", "request_rate", "num_prompts")
"""What may differ from one point of a sweep to the next."""
_R = TypeVar("_R", Run, FailedRun)
_FILES = ("server_log", "load_log", "raw_result", "telemetry", "log")


@dataclass(frozen=True)
class Part:
    """One folder of results."""

    folder: Path
    results: Results


def join(parts: Sequence[Part], out: Path, allowed: Collection[Aspect] = ()) -> Results:
    """The configurations, loads and runs of all parts, as one set of results.

    Configurations that share a name get that of their folder added. The first part's plan is
    the one under test; the plans of the others are baselines.

    Args:
        out: where the results will be saved: files are named relative to it.
        allowed: aspects in which the parts may differ; each difference becomes a warning.

    Raises:
        UsageError: they differ in anything else that figures depend on.
    """
    first = parts[0]
    found = [one for part in parts[1:] for one in _differences(first, part)]
    _refuse(found, allowed)
    labels = _labels(parts)
    names = [_names(part, label, parts) for part, label in zip(parts, labels, strict=True)]
    every = list(zip(parts, names, strict=True))
    loads = {load.point: load for part in parts for load in part.results.loads}
    return first.results.model_copy(
        update={
            "loads": tuple(sorted(loads.values(), key=_intensity)),
            "repeats": max(part.results.repeats for part in parts),
            # What is left to run can only be told folder by folder.
            "stop_when_flat": False,
            "configurations": tuple(
                _renamed(one, new[one.name], under_test=part is first)
                for part, new in every
                for one in part.results.configurations
            ),
            "runs": tuple(
                _moved(run, part, new, out) for part, new in every for run in part.results.runs
            ),
            "failed": tuple(
                _moved(one, part, new, out) for part, new in every for one in part.results.failed
            ),
            "skipped": tuple(dict.fromkeys(one for part in parts for one in part.results.skipped)),
            "duration_s": sum(part.results.duration_s for part in parts),
            "interrupted": any(part.results.interrupted for part in parts),
            "joined": tuple(
                _joined(part, tuple(new.values())) for part, new in every if len(parts) > 1
            ),
            "caveats": (*dict.fromkeys(one.text for one in found), *_not_in_turns(parts)),
        }
    )


def _differences(first: Part, other: Part) -> Iterator[Difference]:
    """Of points that both have; where they share none, of what all points have in common."""
    theirs = {load.point: load for load in other.results.loads}
    shared = [load for load in first.results.loads if load.point in theirs]
    ours: Sequence[Load] = shared or first.results.loads[:1]
    point = {field: getattr(ours[0], field) for field in _POINT_FIELDS}
    loads = (
        [theirs[load.point] for load in shared]
        if shared
        else [other.results.loads[0].model_copy(update=point)]
    )
    yield from circumstances(
        first.results.model_copy(update={"loads": tuple(ours)}),
        other.results.model_copy(update={"loads": tuple(loads)}),
        (str(first.folder), str(other.folder)),
    )


def _refuse(found: Sequence[Difference], allowed: Collection[Aspect]) -> None:
    # Two loads of the same name would be drawn at the same place: there is no marking that.
    refused = [
        one for one in found if one.aspect not in allowed or one.aspect in ("workload", "seed")
    ]
    if not refused:
        return
    lines = "\n".join(f"  {one.aspect}: {one.text}" for one in refused)
    aspects = ",".join(dict.fromkeys(one.aspect for one in refused))
    remedy = (
        "Results of different loads cannot be joined; report them one by one."
        if any(one.aspect in ("workload", "seed") for one in refused)
        else f"If they may differ in this, say --allow {aspects}."
    )
    raise UsageError(f"These results do not belong in one report:\n{lines}\n{remedy}")


def _labels(parts: Sequence[Part]) -> list[str]:
    """A short, different name for each folder."""
    labels: list[str] = []
    for part in parts:
        slug = re.sub(r"[^a-z0-9+._-]+", "-", part.folder.resolve().name.lower()).strip("-")
        tries = (slug if at == 1 else f"{slug}-{at}" for at in count(1))
        labels.append(next(one for one in tries if one not in labels))
    return labels


def _names(part: Part, label: str, parts: Sequence[Part]) -> dict[str, str]:
    """New names by old ones."""
    others = {
        one.name for other in parts if other is not part for one in other.results.configurations
    }
    return {
        one.name: f"{one.name}.{label}" if one.name in others else one.name
        for one in part.results.configurations
    }


def _renamed(one: Configuration, name: str, under_test: bool) -> Configuration:
    role = one.role if under_test else "baseline"
    return one.model_copy(update={"name": name, "role": role})


def _moved(one: _R, part: Part, names: dict[str, str], out: Path) -> _R:
    """The same run under its new name, with its files as seen from ``out``."""
    files = {
        field: os.path.relpath(part.folder / path, out)
        for field in _FILES
        if (path := getattr(one, field, None)) is not None
    }
    return one.model_copy(update={"configuration": names[one.configuration], **files})


def _joined(part: Part, names: tuple[str, ...]) -> Joined:
    environment = part.results.environment
    return Joined(
        folder=str(part.folder),
        git_commit=environment.git_commit,
        hetctl_version=environment.versions.hetctl,
        started=environment.started,
        argv=environment.argv,
        configurations=names,
    )


def _not_in_turns(parts: Sequence[Part]) -> list[str]:
    """Whether the parts were measured one after another."""
    spans = sorted(
        (min(starts), max(starts))
        for part in parts
        if (starts := [run.started for run in part.results.runs])
    )
    if all(after[0] <= before[1] for before, after in pairwise(spans)):
        return []
    return [
        "the joined results were not measured in turns, so a machine that changed in between "
        "looks like a difference (hetctl bench --append takes turns)"
    ]


def _intensity(load: Load) -> tuple[float, float]:
    return (load.request_rate or 0.0, float(load.max_concurrency or 0))
