"""``results.csv``: one line per run, in base units, for spreadsheets and pandas."""

import csv
import io

from hetctl.bench.results import Distribution, Measurement, Results, Run

_DISTRIBUTIONS = ("ttft", "tpot", "itl", "e2el")
_COUNTS = tuple(
    name for name in Measurement.model_fields if name not in {*_DISTRIBUTIONS, "errors"}
)
_RUN_FIELDS = ("configuration", "repeat", "point", "started", "server_start_s")
_LOAD_FIELDS = ("workload", "max_concurrency", "request_rate", "num_prompts")
COLUMNS = (
    "model",
    "role",
    *_RUN_FIELDS,
    *_LOAD_FIELDS,
    *_COUNTS,
    *(f"{name}_{part}" for name in _DISTRIBUTIONS for part in Distribution.model_fields),
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
    return row
