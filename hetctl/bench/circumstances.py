"""Whether two benchmarks are of the same machine, software, model and load."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import Load, Results, Versions
from hetctl.machine import Machine
from hetctl.units import format_bytes

Aspect = Literal[
    "hardware", "versions", "model", "workload", "seed", "tokens", "failures", "disturbed"
]


@dataclass(frozen=True)
class Difference:
    """One reason not to put figures side by side."""

    aspect: Aspect
    text: str
    """Which figure, and both values."""


_SOFTWARE = tuple(field for field in Versions.model_fields if field != "hetctl")
"""hetctl's own version names a commit: it differs as often as the code does, which is what a
comparison is about. See :func:`other_program`."""


def circumstances(one: Results, other: Results, names: tuple[str, str]) -> Iterator[Difference]:
    """How they differ in what is known before anything runs; ``names`` are theirs in texts."""

    def differ(aspect: Aspect, field: str, here: object, there: object) -> Difference:
        return difference(aspect, field, (here, there), names)

    here, there = one.environment, other.environment
    if here.machine.fingerprint != there.machine.fingerprint:
        yield differ("hardware", "machine", _hardware(here.machine), _hardware(there.machine))
    for field in _SOFTWARE:
        versions = getattr(here.versions, field), getattr(there.versions, field)
        if versions[0] != versions[1]:
            yield differ("versions", field, *(version or "none" for version in versions))
    if one.model != other.model:
        yield differ("model", "model", one.model, other.model)
    yield from _loads(one.loads, other.loads, names)


def other_program(one: Results, other: Results, names: tuple[str, str]) -> str | None:
    """A clause that tells the two versions of hetctl, where they differ."""
    versions = one.environment.versions.hetctl, other.environment.versions.hetctl
    if versions[0] == versions[1]:
        return None
    return difference("versions", "hetctl", versions, names).text


def _loads(
    ones: Sequence[Load], others: Sequence[Load], names: tuple[str, str]
) -> Iterator[Difference]:
    """Loads are compared one by one; the number of points is told first."""
    if len(ones) != len(others):
        points = (", ".join(load.point for load in loads) for loads in (ones, others))
        here, there = points
        yield difference("workload", "the sweep", (here, there), names)
        return
    told = set()
    for one, other in zip(ones, others, strict=True):
        for field in Load.model_fields:
            values = getattr(one, field), getattr(other, field)
            if values[0] != values[1] and field not in told:
                told.add(field)
                aspect: Aspect = "seed" if field == "seed" else "workload"
                yield difference(aspect, field, values, names)


def difference(
    aspect: Aspect, field: str, values: tuple[object, object], names: tuple[str, str]
) -> Difference:
    """A difference in one field."""
    text = f"{field} is {values[0]} in {names[0]} and {values[1]} in {names[1]}"
    return Difference(aspect, text)


def _hardware(machine: Machine) -> str:
    cores = sum(len(node.cores) for node in machine.numa_nodes)
    gpus = "".join(f", {gpu.name} {format_bytes(gpu.memory_total_bytes)}" for gpu in machine.gpus)
    return f"{machine.fingerprint or 'unknown'} ({machine.cpu.model}, {cores} cores{gpus})"
