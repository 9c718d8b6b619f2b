"""What results keep of a run's telemetry: a few figures, and whether it can be believed."""

from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt

from hetctl.document import Frozen


class Mark(Frozen):
    """A reason to doubt a run: the machine was not its own, or not at its full speed."""

    kind: Literal["foreign load", "throttling"]
    text: str
    """One clause with the figure and its limit."""


class GpuDigest(Frozen):
    """One GPU while the load ran; None where it did not tell."""

    index: NonNegativeInt
    """As NVML numbers it."""
    energy_j: NonNegativeFloat | None = None
    """Of the whole board, idle power included."""
    power_mean_w: NonNegativeFloat | None = None
    temperature_max_c: float | None = None
    sm_clock_mean_hz: NonNegativeFloat | None = None
    memory_used_max_bytes: NonNegativeFloat | None = None
    """By every process."""
    busy_mean: NonNegativeFloat | None = None
    """Share of the time that a kernel ran."""
    foreign_busy_mean: NonNegativeFloat | None = None
    """Of it, by other processes than the server's."""
    thermal_share: NonNegativeFloat | None = None
    """Share of the time that heat, or the power brake, lowered the clocks."""
    power_cap_share: NonNegativeFloat | None = None
    """Share of the time that the power limit did; usual under full load."""


class TelemetryDigest(Frozen):
    """Means, extremes and sums over the load, without warm-up; None where not readable."""

    samples: NonNegativeInt
    """Readings that the figures come from."""
    gpus: tuple[GpuDigest, ...] = ()
    cpu_load_mean: NonNegativeFloat | None = None
    """Of the CPUs that the benchmark may use: 1 is all of them, all the time."""
    cpu_frequency_mean_hz: NonNegativeFloat | None = None
    cpu_frequency_min_hz: NonNegativeFloat | None = None
    server_cpus_mean: NonNegativeFloat | None = None
    """CPUs' worth of time that the server's processes used."""
    foreign_cpu_share: NonNegativeFloat | None = None
    """Of the same CPUs' time: what other processes and other virtual machines took."""
    memory_used_max_bytes: NonNegativeFloat | None = None
    server_memory_max_bytes: NonNegativeFloat | None = None
    """Private memory of the server's processes."""
    dram_bytes: NonNegativeFloat | None = None
    """Read and written by all processors."""
    cpu_package_energy_j: NonNegativeFloat | None = None
    dram_energy_j: NonNegativeFloat | None = None
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be read, one sentence each."""
