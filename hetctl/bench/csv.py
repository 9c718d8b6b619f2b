"""``results.csv``: one line per run, in base units, for spreadsheets and pandas."""

import csv
import io
from collections.abc import Callable, Sequence
from statistics import fmean

from hetctl.bench.efficiency import EFFICIENCY
from hetctl.bench.results import Distribution, Measurement, Results, Run
from hetctl.bench.telemetry.digest import TelemetryDigest

_DISTRIBUTIONS = ("ttft", "tpot", "itl", "e2el")
_COUNTS = tuple(
    name for name in Measurement.model_fields if name not in {*_DISTRIBUTIONS, "errors"}
)
_RUN_FIELDS = ("configuration", "repeat", "point", "started", "server_start_s")
_LOAD_FIELDS = ("workload", "max_concurrency", "request_rate", "num_prompts")
_DIGEST_FIELDS = tuple(
    name for name in TelemetryDigest.model_fields if name not in {"gpus", "marks", "notes"}
)
_GPU_FIELDS: dict[str, Callable[[Sequence[float]], float]] = {
    "energy_j": sum,
    "power_mean_w": sum,
    "temperature_max_c": max,
    "sm_clock_mean_hz": fmean,
    "memory_used_max_bytes": sum,
    "busy_mean": fmean,
    "foreign_busy_mean": max,
    "thermal_share": max,
    "power_cap_share": max,
}
"""How the figures of several GPUs become one."""
COLUMNS = (
    "model",
    "role",
    *_RUN_FIELDS,
    *_LOAD_FIELDS,
    *_COUNTS,
    *(f"{name}_{part}" for name in _DISTRIBUTIONS for part in Distribution.model_fields),
    *(figure.key for figure in EFFICIENCY),
    *_DIGEST_FIELDS,
    *(f"gpu_{name}" for name in _GPU_FIELDS),
    "marks",
)


def to_csv(results: Results) -> str:
    """Times in seconds, rates per second, sizes in tokens."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(results, run) for run in results.runs)
    return text.getvalue()


def _row(results: Results, run: Run) -> dict[str, object]:
    measured = run.measurement
    row: dict[str, object] = {
        "model": results.model,
        "role": results.configuration(run.configuration).role,
    }
    row |= {name: getattr(run, name) for name in _RUN_FIELDS}
    row["started"] = run.started.isoformat()
    row |= {name: getattr(results.load_at(run.point), name) for name in _LOAD_FIELDS}
    row |= {name: getattr(measured, name) for name in _COUNTS}
    for name in _DISTRIBUTIONS:
        latency: Distribution = getattr(measured, name)
        row |= {f"{name}_{part}": value for part, value in latency.model_dump().items()}
    row |= {figure.key: figure.of(results, run) for figure in EFFICIENCY}
    return row | _telemetry(run.telemetry_digest)


def _telemetry(digest: TelemetryDigest | None) -> dict[str, object]:
    """Empty cells where nothing was sampled."""
    if digest is None:
        return {}
    row: dict[str, object] = {name: getattr(digest, name) for name in _DIGEST_FIELDS}
    for name, together in _GPU_FIELDS.items():
        known = [value for gpu in digest.gpus if (value := getattr(gpu, name)) is not None]
        row[f"gpu_{name}"] = together(known) if known else None
    row["marks"] = "; ".join(f"{mark.kind}: {mark.text}" for mark in digest.marks)
    return row
