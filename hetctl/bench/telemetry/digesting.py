"""From all readings of a run to the figures and marks that results keep."""

import re
from collections.abc import Iterable, Iterator
from statistics import fmean

from hetctl.bench.telemetry.digest import GpuDigest, Mark, TelemetryDigest
from hetctl.bench.telemetry.record import Record, Window

FOREIGN_LIMIT = 0.05
"""Share of the CPUs' time, or of a GPU's, that others may take. CPU ranks wait for their slowest
thread, so a load on one CPU is felt by all."""
THROTTLED_LIMIT = 0.01
"""Share of the time that a GPU may spend with clocks lowered by heat."""
FREQUENCY_DROP_LIMIT = 0.10
"""By how much the CPUs may be slower in the last quarter of the load than in the first."""

# NVML's nvmlClocksEventReason...: a lowered clock for any of these is not the program's doing.
_HW_SLOWDOWN, _SW_THERMAL, _HW_THERMAL, _HW_POWER_BRAKE = 0x8, 0x20, 0x40, 0x80
_THERMAL = _HW_SLOWDOWN | _SW_THERMAL | _HW_THERMAL | _HW_POWER_BRAKE
_POWER_CAP = 0x4
_GPU = re.compile(r"gpu(\d+)_")
_CPU_LOAD = re.compile(r"cpu\d+_load$")


def digest(record: Record, load_s: float, notes: Iterable[str] = ()) -> TelemetryDigest | None:
    """The figures of the load, which took ``load_s``; None if it was not recorded."""
    window = record.window("load", load_s)
    if window is None or window.duration_s <= 0:
        return None
    loads = [name for name in record.columns if _CPU_LOAD.match(name)]
    gpus = sorted({int(m[1]) for name in record.columns if (m := _GPU.match(name))})
    return TelemetryDigest(
        samples=record.readings(window),
        gpus=tuple(_gpu(record, index, window) for index in gpus),
        cpu_load_mean=_mean(record.mean(name, window) for name in loads),
        cpu_frequency_mean_hz=record.mean("cpu_frequency_hz", window),
        cpu_frequency_min_hz=record.smallest("cpu_frequency_min_hz", window),
        server_cpus_mean=record.mean("server_cpus", window),
        foreign_cpu_share=_foreign_share(record, window, len(loads)),
        memory_used_max_bytes=record.largest("memory_used_bytes", window),
        server_memory_max_bytes=record.largest("server_memory_bytes", window),
        dram_bytes=record.counted("dram_total_bytes", window),
        cpu_package_energy_j=record.counted("cpu_package_energy_j", window),
        dram_energy_j=record.counted("dram_energy_j", window),
        marks=tuple(_marks(record, window, gpus, len(loads))),
        notes=tuple(notes),
    )


def _gpu(record: Record, index: int, window: Window) -> GpuDigest:
    name = f"gpu{index}_"
    power_w = record.mean(f"{name}power_w", window)
    energy_j = record.counted(f"{name}energy_j", window)
    if energy_j is None and power_w is not None:
        # Without a counter: the integral of the power readings.
        energy_j = power_w * window.duration_s
    return GpuDigest(
        index=index,
        energy_j=energy_j,
        power_mean_w=power_w,
        temperature_max_c=record.largest(f"{name}temperature_c", window),
        sm_clock_mean_hz=record.mean(f"{name}sm_clock_hz", window),
        memory_used_max_bytes=record.largest(f"{name}memory_used_bytes", window),
        busy_mean=record.mean(f"{name}busy_share", window),
        foreign_busy_mean=record.mean(f"{name}foreign_busy_share", window),
        thermal_share=record.share(f"{name}throttle_reasons", _THERMAL, window),
        power_cap_share=record.share(f"{name}throttle_reasons", _POWER_CAP, window),
    )


def _foreign_share(record: Record, window: Window, cpus: int) -> float | None:
    """Other processes', where they can be told, and other virtual machines'."""
    parts = (record.mean(name, window) for name in ("foreign_cpus", "stolen_cpus"))
    known = [part for part in parts if part is not None]
    return sum(known) / cpus if known and cpus else None


def _marks(record: Record, window: Window, gpus: list[int], cpus: int) -> Iterator[Mark]:
    foreign = _foreign_share(record, window, cpus)
    if foreign is not None and foreign > FOREIGN_LIMIT:
        yield Mark(
            kind="foreign load",
            text=f"other programs took {foreign:.0%} of the CPUs' time (limit {FOREIGN_LIMIT:.0%})",
        )
    for index in gpus:
        yield from _busy_before(record, index)
        yield from _busy_with_others(record, window, index)
        share = record.share(f"gpu{index}_throttle_reasons", _THERMAL, window)
        if share is not None and share > THROTTLED_LIMIT:
            yield Mark(
                kind="throttling",
                text=f"GPU {index} ran with clocks lowered by heat or the power brake for "
                f"{share:.0%} of the time (limit {THROTTLED_LIMIT:.0%})",
            )
    yield from _cpu_throttling(record, window)


def _busy_before(record: Record, index: int) -> Iterator[Mark]:
    """The first row is from before the load, when the server had nothing to do."""
    busy = record.columns.get(f"gpu{index}_busy_share", ())
    if busy and record.phases[0] == "idle" and (busy[0] or 0.0) > FOREIGN_LIMIT:
        yield Mark(
            kind="foreign load",
            text=f"GPU {index} was {busy[0]:.0%} busy before the load began "
            f"(limit {FOREIGN_LIMIT:.0%})",
        )


def _busy_with_others(record: Record, window: Window, index: int) -> Iterator[Mark]:
    foreign = record.mean(f"gpu{index}_foreign_busy_share", window)
    if foreign is not None and foreign > FOREIGN_LIMIT:
        yield Mark(
            kind="foreign load",
            text=f"other programs kept GPU {index} busy for {foreign:.0%} of the load "
            f"(limit {FOREIGN_LIMIT:.0%})",
        )


def _cpu_throttling(record: Record, window: Window) -> Iterator[Mark]:
    events = record.counted("cpu_throttle_events", window)
    if events is not None and events >= 1:
        yield Mark(kind="throttling", text="the kernel counted thermal throttling of the CPU")
    quarter_s = window.duration_s / 4
    first, last = (
        record.mean("cpu_frequency_hz", part)
        for part in (
            Window(window.begin_s, window.begin_s + quarter_s),
            Window(window.end_s - quarter_s, window.end_s),
        )
    )
    if first and last and last < first * (1 - FREQUENCY_DROP_LIMIT):
        yield Mark(
            kind="throttling",
            text=f"the CPUs slowed from {first / 1e9:.2f} to {last / 1e9:.2f} GHz during the load "
            f"(limit {FREQUENCY_DROP_LIMIT:.0%})",
        )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
