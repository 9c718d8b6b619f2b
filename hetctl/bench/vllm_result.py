"""The JSON file that ``vllm bench serve --save-result --save-detailed`` writes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hetctl.bench.results import Distribution, Measurement
from hetctl.document import first_problem
from hetctl.errors import HetctlError

PERCENTILE_METRICS = ("ttft", "tpot", "itl", "e2el")
PERCENTILES = (50, 90, 95, 99)
_ERRORS_KEPT = 3


def read_measurement(path: Path) -> Measurement:
    """The figures of one run, in seconds and tokens per second.

    Raises:
        HetctlError: the file is missing, cut short or lacks a figure, or no request
            succeeded (the first error of a request is quoted).
    """
    return measurement_of(_read(path), path)


def measurement_of(data: Mapping[str, Any], path: Path) -> Measurement:
    """Like :func:`read_measurement`, of what the file at ``path`` held."""
    errors = _errors(data)
    if not data.get("completed"):
        cause = errors[0] if errors else "no reason was given"
        raise HetctlError(
            f"None of the {data.get('failed', data.get('num_prompts'))} requests succeeded: "
            f"{cause} (see {path})."
        )
    try:
        return Measurement(
            duration_s=data["duration"],
            completed=data["completed"],
            failed=data["failed"],
            input_tokens=data["total_input_tokens"],
            output_tokens=data["total_output_tokens"],
            request_throughput=data["request_throughput"],
            request_goodput=data.get("request_goodput"),
            output_throughput=data["output_throughput"],
            total_token_throughput=data["total_token_throughput"],
            **{name: _distribution(data, name) for name in PERCENTILE_METRICS},
            errors=errors[:_ERRORS_KEPT],
        )
    except KeyError as error:
        raise HetctlError(
            f"{path} has no field {error}; it is not a result of 'vllm bench serve' with "
            "the percentiles that hetctl asks for."
        ) from error
    except ValidationError as error:
        raise HetctlError(f"{path}: {first_problem(error)}") from error


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HetctlError(f"The load generator wrote no result file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise HetctlError(f"Cannot read the result file {path}: {error}.") from error
    except json.JSONDecodeError as error:
        raise HetctlError(
            f"The result file {path} is cut short or damaged (line {error.lineno}, column "
            f"{error.colno}: {error.msg}); run the benchmark again."
        ) from error
    if not isinstance(data, dict):
        raise HetctlError(f"{path} is not a result of 'vllm bench serve'.")
    return data


def _distribution(data: Mapping[str, Any], metric: str) -> Distribution:
    """vLLM writes milliseconds; ours are seconds."""
    return Distribution(
        mean_s=data[f"mean_{metric}_ms"] / 1e3,
        **{f"p{p}_s": data[f"p{p}_{metric}_ms"] / 1e3 for p in PERCENTILES},
    )


def _errors(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The different errors of the requests: of a traceback, its last line."""
    last_lines = (text.strip().splitlines()[-1] for text in data.get("errors", ()) if text.strip())
    return tuple(dict.fromkeys(last_lines))
