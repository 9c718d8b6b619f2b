"""The Markdown of docs/results/planner.md from what ``planner_accuracy.py`` measured."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hetctl.bench.metrics import format_number
from hetctl.units import format_bytes, format_duration

Entry = dict[str, Any]

NOT_MEASURED = "not measured"
CHOICE_LIMIT = 0.97
MEMORY_LIMIT = 0.05


@dataclass(frozen=True)
class Metric:
    """A figure that is predicted, and how far off it may be."""

    title: str
    key: str
    """Of the prediction and of what was measured."""
    is_time: bool
    median_limit: float
    worst_limit: float | None

    def format(self, value: float) -> str:
        return format_duration(value) if self.is_time else format_number(value)


METRICS = (
    Metric("TTFT", "ttft_s", True, 0.15, None),
    Metric("TPOT", "tpot_s", True, 0.10, 0.25),
    Metric("tokens/s", "output_tokens_per_s", False, 0.10, 0.25),
)


@dataclass(frozen=True)
class Row:
    """A choice under a load of one grid, and what was measured of its engine."""

    grid: str
    case: Entry
    measured: list[Entry]
    """One entry per round."""

    def predicted(self, metric: Metric) -> float:
        return float(self.case["prediction"][metric.key])

    def seen(self, metric: Metric) -> float | None:
        """The median over rounds, of the medians over requests."""
        if not self.measured:
            return None
        return statistics.median(_figure(one[metric.key]) for one in self.measured)

    def error(self, metric: Metric) -> float | None:
        """Predicted over measured, less 1."""
        seen = self.seen(metric)
        return self.predicted(metric) / seen - 1 if seen else None


def markdown(runs: Entry) -> str:
    """The whole page."""
    rows = [row for grid in runs["grids"] for row in grid_rows(grid)]
    parts = ["# Predicted against measured", ""]
    parts += summary(rows, runs)
    parts += ["", "## Speed", "", *speed(rows)]
    parts += ["", "## Choice", "", *choices(runs)]
    parts += ["", "## Memory", "", *memory(runs)]
    missing = [*not_measured(rows, runs)]
    parts += ["", "## What is not in the tables", "", *(missing or ["Nothing."])]
    parts += ["", "## Circumstances", "", *circumstances(runs)]
    return "\n".join(parts)


def grid_name(grid: Entry) -> str:
    """``llama_8b, 12GiB, 18,432 tokens``."""
    key = grid["key"]
    return f"{key['model']}, {key['gpu_memory'] or 'whole GPU'}, {key['kv_tokens']:,} tokens"


def grid_rows(grid: Entry) -> list[Row]:
    """Cases that have a plan; each engine's loads are shared by all cases that ask for it."""
    return [
        Row(grid_name(grid), case, _measured(grid, case["engine"], case["load"]))
        for case in grid["cases"]
        if case["engine"]
    ]


def _measured(grid: Entry, engine: str, load: str) -> list[Entry]:
    return [
        point["measured"]
        for point in grid["points"]
        if (point["engine"], point["load"]) == (engine, load) and point["measured"]
    ]


def _figure(value: float | list[float]) -> float:
    return statistics.median(value) if isinstance(value, list) else value


def distinct(rows: list[Row]) -> list[Row]:
    """Measured rows, an engine's load once: ``auto`` and a strategy may be the same."""
    found = {(row.grid, row.case["engine"], row.case["load"]): row for row in reversed(rows)}
    return [row for row in reversed(found.values()) if row.measured]


def summary(rows: list[Row], runs: Entry) -> list[str]:
    """Every limit, and whether it is kept."""
    lines = ["| | points | median error | limit | worst | limit |", "|---|--:|--:|--:|--:|--:|"]
    for metric in METRICS:
        errors = [abs(e) for row in distinct(rows) if (e := row.error(metric)) is not None]
        if not errors:
            lines.append(f"| {metric.title} | 0 | | | | |")
            continue
        median = _against(statistics.median(errors), metric.median_limit)
        worst = _against(max(errors), metric.worst_limit)
        lines.append(f"| {metric.title} | {len(errors)} | {median} | {worst} |")
    ranks = [rank for grid in runs["grids"] for rank in memory_rows(grid)]
    if ranks:
        errors = [abs(rank.error) for rank in ranks]
        median, worst = f"{statistics.median(errors):.1%} | -", _against(max(errors), MEMORY_LIMIT)
        lines.append(f"| memory per rank | {len(ranks)} | {median} | {worst} |")
        under = sum(rank.error < 0 for rank in ranks)
        lines += ["", f"Memory was predicted too low for {under} of {len(ranks)} ranks."]
    ratios = [ratio for grid in runs["grids"] for *_, ratio in compared(grid)]
    if ratios:
        lines += [
            "",
            f"`auto` reached {min(ratios):.2f} of the best fixed strategy or more, on "
            f"{sum(ratio >= CHOICE_LIMIT for ratio in ratios)} of {len(ratios)} loads at least "
            f"{CHOICE_LIMIT}.",
        ]
    return lines


def _against(value: float, limit: float | None) -> str:
    if limit is None:
        return f"{value:.1%} | -"
    return f"{value:.1%} | {limit:.0%}" if value <= limit else f"**{value:.1%}** | {limit:.0%}"


def speed(rows: list[Row]) -> list[str]:
    """Predicted, measured and error of every point."""
    titles = " | ".join(f"{metric.title} | measured | error" for metric in METRICS)
    lines = [f"| grid | engine | load | {titles} |", "|---|---|---|" + "--:|" * 9]
    for row in distinct(rows):
        cells = []
        for metric in METRICS:
            seen, error = row.seen(metric), row.error(metric)
            assert seen is not None
            assert error is not None
            cells += [metric.format(row.predicted(metric)), metric.format(seen), f"{error:+.0%}"]
        name = f"{row.grid} | {row.case['engine']} | {row.case['load']}"
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def compared(grid: Entry) -> Iterator[tuple[str, Entry, str, float]]:
    """Load, ``auto``'s case, the best fixed engine and how much of it ``auto`` reached.

    Only loads under which ``auto``'s engine and another one were measured.
    """
    by_load: dict[str, dict[str, Entry]] = {}
    for case in grid["cases"]:
        if case["engine"] and _measured(grid, case["engine"], case["load"]):
            by_load.setdefault(case["load"], {})[case["choice"]] = case
    for load, found in by_load.items():
        auto = found.pop("auto", None)
        if auto is None or not found:
            continue
        rates = {case["engine"]: _rate(grid, case["engine"], load) for case in found.values()}
        best = max(rates, key=lambda engine: rates[engine])
        yield load, auto, best, _rate(grid, auto["engine"], load) / rates[best]


def _rate(grid: Entry, engine: str, load: str) -> float:
    return statistics.median(one["output_tokens_per_s"] for one in _measured(grid, engine, load))


def choices(runs: Entry) -> list[str]:
    """What ``auto`` chose, against the best of the others."""
    lines = [
        "| grid | load | auto chose | tokens/s | best fixed | tokens/s | auto / best |",
        "|---|---|---|--:|---|--:|--:|",
    ]
    for grid in runs["grids"]:
        for load, auto, best, ratio in compared(grid):
            rates = [format_number(_rate(grid, engine, load)) for engine in (auto["engine"], best)]
            shown = f"{ratio:.2f}" if ratio >= CHOICE_LIMIT else f"**{ratio:.2f}**"
            lines.append(
                f"| {grid_name(grid)} | {load} | {auto['engine']} | {rates[0]} | {best} | "
                f"{rates[1]} | {shown} |"
            )
    return lines


@dataclass(frozen=True)
class RankRow:
    """A rank's memory as planned and as reported. All in bytes.

    The KV cache is left out of the comparison: a GPU that runs without CPU ranks gives it
    whatever the rest leaves, and with CPU ranks its size is given.
    """

    engine: str
    planned: Entry
    reported: Entry
    context_bytes: int
    """What of a GPU's memory the rank took before it began to count."""

    @property
    def planned_bytes(self) -> int:
        parts = ("weight_bytes", "activation_bytes", "cuda_graph_bytes", "framework_bytes")
        return sum(int(self.planned[part]) for part in parts)

    @property
    def reported_bytes(self) -> int:
        taken = int(self.reported["peak_bytes"]) + self.context_bytes
        return taken - int(self.reported["kv_cache_bytes"])

    @property
    def error(self) -> float:
        """How far off, as a share of all that the rank holds; below 0 too little was planned."""
        held = self.reported_bytes + int(self.reported["kv_cache_bytes"])
        return (self.planned_bytes - self.reported_bytes) / held


def memory_rows(grid: Entry) -> list[RankRow]:
    """Every rank of every engine that started, the last start of each."""
    started = {engine["key"]: engine for engine in grid["engines"] if engine["memory"]}
    return [
        RankRow(key, planned, reported, _context_bytes(engine, planned["device"], reported))
        for key, engine in started.items()
        for planned, reported in zip(engine["ranks"], engine["memory"], strict=True)
    ]


def _context_bytes(engine: Entry, device: str, reported: Entry) -> int:
    free_before = engine["gpu_free_before_bytes"].get(device)
    if free_before is None:
        return 0
    return max(0, free_before - reported["device_free_bytes"] - reported["used_bytes"])


def memory(runs: Entry) -> list[str]:
    """Planned against reported, per rank and part."""
    lines = [
        "Planned / reported by vLLM once the rank is ready. The total leaves out the KV cache, and "
        "its error is a share of all that the rank holds, KV cache included; in bold, too little "
        "was planned or the error is above 5%.",
        "",
        "| grid | engine | rank | weights | KV cache | activations | CUDA graphs | total | error |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for grid in runs["grids"]:
        for row in memory_rows(grid):
            parts = ("weight_bytes", "kv_cache_bytes", "activation_bytes", "cuda_graph_bytes")
            cells = [_pair(row.planned[part], row.reported[part]) for part in parts]
            cells.append(_pair(row.planned_bytes, row.reported_bytes))
            good = 0 <= row.error <= MEMORY_LIMIT
            cells.append(f"{row.error:+.1%}" if good else f"**{row.error:+.1%}**")
            rank = f"{row.planned['rank']} {row.planned['device']}"
            name = f"{grid_name(grid)} | {row.engine} | {rank}"
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _pair(planned: int, reported: int | None) -> str:
    return f"{format_bytes(planned)} / {'-' if reported is None else format_bytes(reported)}"


def not_measured(rows: list[Row], runs: Entry) -> Iterator[str]:
    """What cannot run, what failed and what was left out."""
    for grid in runs["grids"]:
        refused: dict[tuple[str, str], list[str]] = {}
        for case in grid["cases"]:
            if not case["engine"]:
                refused.setdefault((case["choice"], case["why_not"]), []).append(case["load"])
        for (choice, why_not), loads in refused.items():
            yield f"* {grid_name(grid)}, {choice} at {', '.join(loads)}: {why_not}"
        for engine in grid["engines"]:
            if engine["error"]:
                yield f"* {grid_name(grid)}, {engine['key']}: {engine['error']}"
        for point in grid["points"]:
            if point["error"]:
                where = f"{point['engine']} at {point['load']}"
                yield f"* {grid_name(grid)}, {where}: {point['error']}"
    missing = {(r.grid, r.case["engine"], r.case["load"]) for r in rows if not r.measured}
    for name, engine, load in sorted(missing):
        yield f"* {name}, {engine} at {load}: {NOT_MEASURED}"


def circumstances(runs: Entry) -> Iterator[str]:
    """Where and with what each grid ran."""
    for grid in runs["grids"]:
        environment = grid["environment"]
        machine, versions = environment["machine"], environment["versions"]
        devices = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
        cores = sum(len(node["cores"]) for node in machine["numa_nodes"])
        yield (
            f"* {grid_name(grid)}: {devices}, {cores} cores of {machine['cpu']['model']}; answers "
            f"of {grid['key']['output_len']} tokens; vLLM {versions['vllm']}, torch "
            f"{versions['torch']}, {environment['started']}"
        )
