"""A machine's own measurements, where there are any, in place of datasheets.

``~/.cache/hetctl/machines/FINGERPRINT.json`` (or under ``XDG_CACHE_HOME``) is used for every
machine of that fingerprint: this one, or one that ``hetctl probe --save`` wrote.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hetctl.contradictions import FROM_RANGES, contradiction
from hetctl.document import Figure, FigureByBytes, FigureByRows, Frozen
from hetctl.errors import UsageError
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.machine_profile import (
    GpuProfile,
    MachineProfile,
    Measured,
    MeasuredByBytes,
    MeasuredByRows,
    NodeProfile,
)
from hetctl.profiles.measured_file import COMMAND, has_others, profile_path
from hetctl.profiles.tool_versions import tool_versions

# Drivers, kernels and neighbours change; a quarter of a year is a guess at how slowly.
_STALE_DAYS = 90

# A hop cannot be faster than a few copies in the last cache.
_LEAST_S_PER_BYTE = 1 / 500e9

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
    profile = load_profile(path)
    if profile.machine_fingerprint != machine.fingerprint:
        note = (
            f"{path} holds measurements of another machine "
            f"({profile.machine_fingerprint}) and is not used; measure this one ({COMMAND})."
        )
        return machine.model_copy(update={"rate_notes": (*machine.rate_notes, note)})
    return applied(profile, machine, now or datetime.now(UTC))


def describe(machine: Machine, now: datetime | None = None) -> str:
    """One line on a machine's measurements: how old, and why not to trust them; or none."""
    path = profile_path(machine.fingerprint)
    if not path.is_file():
        others = "those in the cache are of other machines; " if has_others(path.stem) else ""
        return f"not yet; {others}{COMMAND} takes under 3 minutes"
    try:
        profile = load_profile(path)
        notes = with_measurements(machine, now).rate_notes
    except UsageError as error:
        return f"not usable: {error}"
    return " ".join((f"{profile.measured_at:%Y-%m-%d}", *notes[len(machine.rate_notes) :]))


def load_profile(path: Path) -> MachineProfile:
    """A machine profile.

    Raises:
        UsageError: it cannot be read, is none, or a figure in it is missing or absurd; the
            remedy is in the message.
    """
    try:
        return MachineProfile.load(path)
    except UsageError as error:
        reason = str(error).rstrip(".")
        raise UsageError(f"{reason}; measure again ({COMMAND}), or remove the file.") from error


def applied(profile: MachineProfile, machine: Machine, now: datetime) -> Machine:
    """``machine`` with every figure that ``profile`` has.

    Raises:
        UsageError: the profile names a node or GPU that the machine has not, or contradicts itself.
    """
    nodes = {node.numa_node: node for node in profile.numa_nodes}
    gpus = {gpu.index: gpu for gpu in profile.gpus}
    _refuse_strangers("NUMA node", set(nodes), {node.id for node in machine.numa_nodes})
    _refuse_strangers("GPU", set(gpus), {gpu.index for gpu in machine.gpus})
    _refuse_contradictions(profile, machine)
    day = f"{profile.measured_at:%Y-%m-%d}"
    measured = [_node(node, nodes.get(node.id), day, profile.gpus) for node in machine.numa_nodes]
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


def _refuse_contradictions(profile: MachineProfile, machine: Machine) -> None:
    parts: list[NodeProfile | GpuProfile] = [*profile.numa_nodes, *profile.gpus]
    for part in parts:
        found = contradiction(part, FROM_RANGES, machine.cpu.last_cache_bytes)
        if found:
            raise UsageError(
                f"The machine profile's {_name(part)} contradicts itself: {found}; "
                f"measure it again ({COMMAND}), or remove the file."
            )


def _notes(profile: MachineProfile, machine: Machine, now: datetime) -> list[str]:
    notes = [f"{why}; measure again ({COMMAND})." for why in _stale(profile, machine, now)]
    parts: list[NodeProfile | GpuProfile] = [*profile.numa_nodes, *profile.gpus]
    wide = [
        f"{_name(part)}'s {name}"
        for part in parts
        for name, figure in _figures(part)
        if figure.spread > _WIDE_SPREAD
    ]
    if wide:
        more = f" and {len(wide) - 1} others" if len(wide) > 1 else ""
        notes.append(
            f"Measurements of {wide[0]}{more} lie more than {_WIDE_SPREAD:.0%} apart; "
            f"the machine was busy."
        )
    if profile.not_measured:
        first = profile.not_measured[0]
        more = f" and {len(profile.not_measured) - 1} more" if profile.not_measured[1:] else ""
        notes.append(
            f"Not measured: {first.device}'s {first.what}{more}; these are the tables' figures."
        )
    return notes


def _stale(profile: MachineProfile, machine: Machine, now: datetime) -> list[str]:
    """Why a profile may not tell how fast the machine is today."""
    found = []
    age = profile.age_days(now)
    if age > _STALE_DAYS:
        found.append(f"The measurements are {age:.0f} days old")
    here = tool_versions(machine)
    changed = [
        f"{tool} {version} (now {here[tool]})"
        for tool, version in profile.tool_versions.items()
        if here.get(tool, version) != version
    ]
    if changed:
        found.append(f"The measurements were made with {', '.join(changed)}")
    return found


def _name(part: NodeProfile | GpuProfile) -> str:
    return f"cuda:{part.index}" if isinstance(part, GpuProfile) else f"node {part.numa_node}"


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
    if measured is None:
        return gpu
    found = _replaced(gpu, measured, day)
    side_s = _gpu_side_s(measured)
    if side_s is None:
        return found
    note = f"{day}, a copy of the fewest bytes, mean of both directions"
    return found.model_copy(
        update={"hop_latency_s": Figure(value=side_s, source="measured", note=note)}
    )


def _gpu_side_s(measured: GpuProfile) -> float | None:
    """What a small copy and waiting for it take, on average of both directions."""
    tables = (measured.host_to_device_s_by_bytes, measured.device_to_host_s_by_bytes)
    smallest = [table.values[0].median for table in tables if table is not None]
    return sum(smallest) / len(smallest) if len(smallest) == len(tables) else None


def _node(
    node: NumaNode, measured: NodeProfile | None, day: str, gpus: Sequence[GpuProfile]
) -> NumaNode:
    if measured is None:
        return node
    if measured.threads > len(node.cores):
        raise UsageError(
            f"The machine profile measured NUMA node {node.id} on {measured.threads} threads, and "
            f"{len(node.cores)} of its cores may be used now; measure it again."
        )
    found = _replaced(node, measured, day)
    return found.model_copy(
        update={"rate_cores": measured.threads, **_hop_side(measured, day, gpus)}
    )


def _hop_side(measured: NodeProfile, day: str, gpus: Sequence[GpuProfile]) -> dict[str, Figure]:
    """The node's side of a hand-over: what its smallest and its largest took, less the GPU's.

    Between two CPU ranks each side is half.
    """
    table = measured.hop_s_by_bytes
    if table is None or len(table.sizes_bytes) < 2:
        return {}
    (small, least), (large, most) = (
        (table.sizes_bytes[i], table.values[i].median) for i in (0, -1)
    )
    latency_s, per_byte_s = least, (most - least) / (large - small)
    if measured.hop_peer == "gpu":
        sides = [side for gpu in gpus if (side := _gpu_side_s(gpu)) is not None]
        latency_s -= sides[0] if sides else 0.0
        per_byte_s -= _gpu_s_per_byte(gpus[0]) if gpus else 0.0
    else:
        latency_s, per_byte_s = latency_s / 2, per_byte_s / 2
    note = f"{day}, from hand-overs of {small} and {large} bytes"
    # Where copying hides the node's work, its own share is nothing: as good as no limit.
    per_byte_s = max(per_byte_s, _LEAST_S_PER_BYTE)
    return {
        "hop_latency_s": Figure(value=max(latency_s, 1e-6), source="measured", note=note),
        "hop_bytes_per_s": Figure(value=1 / per_byte_s, source="measured", note=note),
    }


def _gpu_s_per_byte(measured: GpuProfile) -> float:
    """What a byte of a hand-over takes on the GPU's side, on average of the directions measured."""
    rates = (measured.host_to_device_bytes_per_s, measured.device_to_host_bytes_per_s)
    taken = [1 / rate.median for rate in rates if rate is not None]
    return sum(taken) / len(taken) if taken else 0.0


def _replaced(part: _Part, measured: Frozen, day: str) -> _Part:
    """``part`` with the figures that plans know of."""
    changes: dict[str, Any] = {}
    for name in type(measured).model_fields.keys() & type(part).model_fields.keys():
        value = getattr(measured, name)
        medians = f"{day}, medians"
        if isinstance(value, Measured):
            changes[name] = _figure(value, day)
        elif isinstance(value, dict):
            changes[name] = {node: _figure(figure, day) for node, figure in value.items()}
        elif isinstance(value, MeasuredByRows):
            changes[name] = FigureByRows(
                rows=value.rows, values=_medians(value), source="measured", note=medians
            )
        elif isinstance(value, MeasuredByBytes):
            changes[name] = FigureByBytes(
                sizes_bytes=value.sizes_bytes,
                values=_medians(value),
                source="measured",
                note=medians,
            )
    return part.model_copy(update=changes)


def _figure(measured: Measured, day: str) -> Figure:
    note = f"{day}, {measured.low:.3g} to {measured.high:.3g} in {measured.samples} runs"
    return Figure(value=measured.median, source="measured", note=note)


def _medians(table: MeasuredByRows | MeasuredByBytes) -> tuple[float, ...]:
    return tuple(figure.median for figure in table.values)
