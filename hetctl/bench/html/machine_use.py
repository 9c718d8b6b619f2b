"""What the machine did in each run, as a table."""

from dataclasses import dataclass

from hetctl.bench.efficiency import gpu_energy_j
from hetctl.bench.metrics import format_number
from hetctl.bench.results import Results, Run
from hetctl.units import format_bytes

HEADER = (
    "Configuration",
    "Load",
    "Repeat",
    "GPU energy",
    "GPU power",
    "GPU clock",
    "GPU temp.",
    "GPU busy",
    "CPU energy",
    "Server's CPUs",
    "CPU clock",
    "Server's memory",
    "Foreign load",
)


@dataclass(frozen=True)
class UseRow:
    """One run; a figure that no source told is a dash."""

    cells: tuple[str, ...]
    marks: tuple[str, ...]


def machine_use(results: Results) -> list[UseRow]:
    """A row per run that was sampled."""
    return [_row(results, run) for run in results.runs if run.telemetry_digest]


def shown_columns(found: list[UseRow]) -> list[int]:
    """The columns that at least one run has a figure in."""
    return [i for i in range(len(HEADER)) if any(row.cells[i] != "–" for row in found)]


def _row(results: Results, run: Run) -> UseRow:
    digest = run.telemetry_digest
    assert digest is not None
    gpus = digest.gpus

    def mean(name: str) -> float | None:
        known = [value for gpu in gpus if (value := getattr(gpu, name)) is not None]
        return sum(known) / len(known) if known else None

    powers = [gpu.power_mean_w for gpu in gpus if gpu.power_mean_w is not None]
    heats = [gpu.temperature_max_c for gpu in gpus if gpu.temperature_max_c is not None]
    cells = (
        run.configuration,
        run.point,
        str(run.repeat),
        _number(gpu_energy_j(results, run), " J"),
        _number(sum(powers) if powers else None, " W"),
        _number(mean("sm_clock_mean_hz"), " MHz", 1e-6),
        _number(max(heats, default=None), " °C"),
        _share(mean("busy_mean")),
        _number(digest.cpu_package_energy_j, " J"),
        _number(digest.server_cpus_mean, ""),
        _number(digest.cpu_frequency_mean_hz, " GHz", 1e-9),
        "–"
        if digest.server_memory_max_bytes is None
        else format_bytes(digest.server_memory_max_bytes),
        _share(digest.foreign_cpu_share),
    )
    return UseRow(cells, tuple(f"{mark.kind}: {mark.text}" for mark in digest.marks))


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None, unit: str, factor: float = 1.0) -> str:
    return "–" if value is None else f"{format_number(value * factor)}{unit}"
