"""What counts as slower: ``output_throughput<0.95``, on the command line or in a TOML file."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hetctl.bench.metrics import Metric, find_metric
from hetctl.bench.results import Load
from hetctl.errors import UsageError

DEFAULTS = ("output_throughput<0.95", "p50_ttft>1.10", "p50_tpot>1.05")
"""Percentiles of the tail are left out: between equal servers p99 differs by more than any
useful threshold, so that every gate would end with "not enough evidence"."""

_FORM = re.compile(r"\s*([A-Za-z0-9_]+)\s*([<>])\s*(\d+(?:\.\d*)?|\.\d+)\s*")


@dataclass(frozen=True)
class Threshold:
    """A metric fails when the ratio of its medians, CURRENT to BASE, is beyond ``limit``."""

    metric: Metric
    limit: float
    """Below 1 for a rate, above 1 for a latency."""

    def __str__(self) -> str:
        return f"{self.metric.key}{'<' if self.metric.higher_is_better else '>'}{self.limit:g}"


def parse_threshold(text: str) -> Threshold:
    """Read ``METRIC<RATIO`` or ``METRIC>RATIO``.

    Raises:
        UsageError: the form, the metric or the side of the limit is wrong.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"The threshold {text!r} is not of the form METRIC<RATIO or METRIC>RATIO; write it "
            "like output_throughput<0.95 or p99_ttft>1.10."
        )
    name, sign, number = match.groups()
    metric, limit = find_metric(name), float(number)
    worse = "<" if metric.higher_is_better else ">"
    if sign != worse:
        better = "higher" if metric.higher_is_better else "lower"
        raise UsageError(
            f"The threshold {text!r} would fail when {metric.key} gets better ({better} is "
            f"better); write {metric.key}{worse}RATIO."
        )
    if not (0 < limit < 1 if metric.higher_is_better else limit > 1):
        side = "between 0 and 1" if metric.higher_is_better else "above 1"
        raise UsageError(
            f"The ratio in the threshold {text!r} must be {side}: it is CURRENT divided by "
            "BASE, and noise alone makes two equal servers differ a little."
        )
    return Threshold(metric, limit)


def parse_thresholds(texts: Iterable[str]) -> tuple[Threshold, ...]:
    """Like :func:`parse_threshold`, for several metrics.

    Raises:
        UsageError: one is wrong, or two are about the same metric.
    """
    found: dict[str, Threshold] = {}
    for text in texts:
        threshold = parse_threshold(text)
        if earlier := found.get(threshold.metric.key):
            raise UsageError(
                f"{threshold.metric.key} has two thresholds, {earlier} and {threshold}; keep one."
            )
        found[threshold.metric.key] = threshold
    return tuple(found.values())


def read_threshold_file(path: Path) -> tuple[str, ...]:
    """The entries of ``fail = ["output_throughput<0.95", ...]`` in a TOML file.

    Raises:
        UsageError: the file cannot be read, is not TOML or holds anything else.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(f"Cannot read the threshold file {path}: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The threshold file {path} is not valid TOML: {error}.") from error
    entries = data.pop("fail", None)
    if data or not entries or not isinstance(entries, list) or not _all_text(entries):
        raise UsageError(
            f"The threshold file {path} must hold one list of thresholds and nothing else: "
            'fail = ["output_throughput<0.95", "p99_ttft>1.10"].'
        )
    return tuple(entries)


def default_thresholds(load: Load) -> tuple[Threshold, ...]:
    """What is checked when nothing is asked for. One token has no time per further token."""
    found = parse_thresholds(DEFAULTS)
    if load.output_len > 1:
        return found
    return tuple(one for one in found if "tpot" not in one.metric.key)


def _all_text(entries: list[object]) -> bool:
    return all(isinstance(entry, str) for entry in entries)
