"""``report.html``: one file with everything in it, for people."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from hetctl.bench.findings import findings
from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT, Metric
from hetctl.bench.plots import charts, series_colour
from hetctl.bench.results import Load, Results
from hetctl.bench.summary import ConfigurationSummary, Summary, summarise
from hetctl.bench.verdict import Outcome, describe_load, judge, outcome_of
from hetctl.plan import Plan, RankPlan
from hetctl.units import format_bytes, format_duration

_TILES = (OUTPUT_THROUGHPUT, *(LATENCIES[name][1]["p50"] for name in ("ttft", "tpot", "e2el")))
_CHART_TITLES = {
    "output_throughput": "Output tokens per second",
    "request_throughput": "Requests per second",
    **{name: title for name, (title, _) in LATENCIES.items()},
}


@dataclass(frozen=True)
class Cell:
    """A figure and how it compares with the reference."""

    text: str
    interval: str = ""
    speedup: str = ""
    outcome: Outcome = "single"
    best: bool = False


@dataclass(frozen=True)
class Segment:
    """A part of a rank's memory."""

    name: str
    size: str
    percent: float
    css: str


def to_html(results: Results) -> str:
    """The report as one HTML document that loads nothing from anywhere."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    # Not chosen by file name: everything is escaped, or model names could bring markup.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "duration": format_duration,
        "shell": shlex.join,
    }
    summary = summarise(results)
    drawn = charts(summary) if summary.measured else {}
    return environment.get_template("report.html.j2").render(
        results=results,
        summary=summary,
        verdict=judge(results),
        findings=findings(results),
        load=describe_load(results.offered_load),
        tiles=_tiles(summary),
        rows=[(metric, _row(summary, metric)) for metric in summary.metrics],
        charts=[(_CHART_TITLES[name], Markup(svg)) for name, svg in drawn.items()],
        colours={one.name: series_colour(i) for i, one in enumerate(summary.measured)},
        predictions={one.name: _predictions(one) for one in summary.measured},
        planned_for_load=lambda plan: planned_for(plan, results.offered_load),
        segments=segments,
        memory_scale=memory_scale,
    )


def _row(summary: Summary, metric: Metric) -> list[Cell]:
    return [_cell(summary, one, metric) for one in summary.measured]


def _cell(summary: Summary, one: ConfigurationSummary, metric: Metric) -> Cell:
    value = one.value(metric)
    speedup = summary.speedup(one, metric)
    return Cell(
        text=metric.format(value.mean),
        interval="" if value.half_width is None else f"± {metric.format(value.half_width)}",
        speedup="" if speedup is None else f"{speedup:.2f}×",
        outcome="single" if speedup is None else outcome_of(speedup),
        best=summary.best(metric) == one.name,
    )


def _tiles(summary: Summary) -> list[tuple[Metric, Cell, str]]:
    """The plan's main figures, and the reference's in words."""
    one = summary.plan or (summary.measured[0] if summary.measured else None)
    if one is None:
        return []
    reference = summary.reference
    return [
        (
            metric,
            _cell(summary, one, metric),
            ""
            if reference is None or reference.name == one.name
            else f"{reference.name}: {metric.format(reference.value(metric).mean)}",
        )
        for metric in _TILES
    ]


def _predictions(one: ConfigurationSummary) -> list[tuple[str, str, str, str]]:
    """What the plan promised, what was measured, and how far apart they are."""
    plan = one.configuration.plan
    if plan is None:
        return []
    promised = {
        OUTPUT_THROUGHPUT: plan.prediction.output_tokens_per_s,
        LATENCIES["ttft"][1]["mean"]: plan.prediction.ttft_s,
        LATENCIES["tpot"][1]["mean"]: plan.prediction.tpot_s,
    }
    lines = []
    for metric, expected in promised.items():
        found = one.value(metric).mean
        off = f"{(found / expected - 1) * 100:+.0f}%" if expected > 0 else "not predicted"
        lines.append((metric.title, metric.format(expected), metric.format(found), off))
    return lines


def planned_for(plan: Plan, load: Load) -> bool:
    """Whether the plan's prediction is about this load."""
    workload = plan.workload
    return (workload.input_len, workload.output_len, workload.concurrency) == (
        load.input_len,
        load.output_len,
        load.max_concurrency,
    )


def memory_scale(plan: Plan) -> int:
    """The largest memory limit among the ranks, in bytes: bars are to one scale."""
    return max(max(rank.memory_limit_bytes, rank.used_bytes) for rank in plan.ranks)


def segments(rank: RankPlan, scale: int) -> list[Segment]:
    """A rank's memory from weights to what is left, as shares of ``scale`` bytes."""
    parts = {
        "weights": rank.weight_bytes,
        "KV cache": rank.kv_cache_bytes,
        "activations": rank.activation_bytes,
        "framework": rank.framework_bytes,
        "free": max(0, rank.memory_limit_bytes - rank.used_bytes),
    }
    return [
        Segment(name, format_bytes(size), 100 * size / scale, name.split()[0].lower())
        for name, size in parts.items()
        if size
    ]
