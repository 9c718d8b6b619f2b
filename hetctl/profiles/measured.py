"""A machine's own measurements, where there are any, in place of datasheets.

``~/.cache/hetctl/machines/FINGERPRINT.json`` (or under ``XDG_CACHE_HOME``) is used for every
machine of that fingerprint: this one, or one that ``hetctl probe --save`` wrote.
"""

from datetime import UTC, datetime
from typing import Any, TypeVar

from hetctl.document import Figure, FigureByRows, Frozen
from hetctl.errors import UsageError
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.machine_profile import (
    GpuProfile,
    MachineProfile,
    Measured,
    MeasuredByRows,
    NodeProfile,
)
from hetctl.profiles.measured_file import profile_path

# Drivers, kernels and neighbours change; a quarter of a year is a guess at how slowly.
_STALE_DAYS = 90

# A figure whose runs lie further apart was measured on a busy machine.
_WIDE_SPREAD = 0.3


def with_measurements(machine: Machine, now: datetime | None = None) -> Machine:
    """The machine with its measured figures put in, and a note on what to know about them.

    Unchanged where nothing was measured. A file that is of another machine, or of a device
    that this one lacks, is said in a note; what is foreign is not used.

    Raises:
        UsageError: the file is not a machine profile, or a figure in it is missing or absurd.
    """
    path = profile_path(machine.fingerprint)
    if not machine.fingerprint or not path.is_file():
        return machine
    profile = MachineProfile.load(path)
    if profile.machine_fingerprint != machine.fingerprint:
        note = (
            f"{path} holds measurements of another machine "
            f"({profile.machine_fingerprint}) and is not used."
        )
        return machine.model_copy(update={"rate_notes": (*machine.rate_notes, note)})
    return applied(profile, machine, now or datetime.now(UTC))


def applied(profile: MachineProfile, machine: Machine, now: datetime) -> Machine:
    """``machine`` with every figure that ``profile`` has.

    Raises:
        UsageError: the profile names a node or GPU that the machine has not.
    """
    nodes = {node.numa_node: node for node in profile.numa_nodes}
    gpus = {gpu.index: gpu for gpu in profile.gpus}
    _refuse_strangers("NUMA node", set(nodes), {node.id for node in machine.numa_nodes})
    _refuse_strangers("GPU", set(gpus), {gpu.index for gpu in machine.gpus})
    day = f"{profile.measured_at:%Y-%m-%d}"
    measured = [_node(node, nodes.get(node.id), day) for node in machine.numa_nodes]
    return machine.model_copy(
        update={
            "numa_nodes": tuple(measured),
            "gpus": tuple(_gpu(gpu, gpus.get(gpu.index), day) for gpu in machine.gpus),
            "rate_notes": (*machine.rate_notes, *_notes(profile, machine, now)),
        }
    )


def _refuse_strangers(what: str, measured: set[int], present: set[int]) -> None:
    unknown = sorted(measured - present)
    if unknown:
        raise UsageError(
            f"The machine profile has figures of {what} {unknown[0]}, which this machine has not; "
            f"measure it again."
        )


def _notes(profile: MachineProfile, machine: Machine, now: datetime) -> list[str]:
    notes = []
    age = profile.age_days(now)
    if age > _STALE_DAYS:
        notes.append(f"The measurements are {age:.0f} days old; measure again.")
    running = {"kernel": machine.kernel, "driver": machine.driver_version}
    for tool, version in profile.tool_versions.items():
        here = running.get(tool)
        if here and here != version:
            notes.append(f"The measurements were made with {tool} {version}, and this is {here}.")
    parts: list[NodeProfile | GpuProfile] = [*profile.numa_nodes, *profile.gpus]
    for part in parts:
        wide = [name for name, figure in _figures(part) if figure.spread > _WIDE_SPREAD]
        if wide:
            notes.append(
                f"Measurements of {wide[0]} lie more than {_WIDE_SPREAD:.0%} apart; "
                f"the machine was busy."
            )
    return notes


def _figures(part: NodeProfile | GpuProfile) -> list[tuple[str, Measured]]:
    found = []
    for name in type(part).model_fields:
        value = getattr(part, name)
        if isinstance(value, Measured):
            found.append((name, value))
        elif isinstance(value, MeasuredByRows):
            found += [(f"{name} at {r}", v) for r, v in zip(value.rows, value.values, strict=True)]
    return found


_Part = TypeVar("_Part", Gpu, NumaNode)


def _gpu(gpu: Gpu, measured: GpuProfile | None, day: str) -> Gpu:
    return gpu if measured is None else _replaced(gpu, measured, day)


def _node(node: NumaNode, measured: NodeProfile | None, day: str) -> NumaNode:
    if measured is None:
        return node
    if measured.threads != len(node.cores):
        raise UsageError(
            f"The machine profile measured NUMA node {node.id} on {measured.threads} threads, and "
            f"{len(node.cores)} of its cores may be used now; measure it again."
        )
    return _replaced(node, measured, day)


def _replaced(part: _Part, measured: Frozen, day: str) -> _Part:
    changes: dict[str, Any] = {}
    for name in type(measured).model_fields:
        value = getattr(measured, name)
        if isinstance(value, Measured):
            note = f"{day}, {value.low:.3g} to {value.high:.3g} in {value.samples} runs"
            changes[name] = Figure(value=value.median, source="measured", note=note)
        elif isinstance(value, MeasuredByRows):
            changes[name] = FigureByRows(
                rows=value.rows,
                values=tuple(figure.median for figure in value.values),
                source="measured",
                note=f"{day}, medians",
            )
    return part.model_copy(update=changes)
