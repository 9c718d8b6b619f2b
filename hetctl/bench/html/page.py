"""Renders the report from its templates."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hetctl.bench.charts.bars import bar_charts
from hetctl.bench.charts.curves import machine_charts, measured_names, sweep_charts
from hetctl.bench.charts.distributions import distribution_charts
from hetctl.bench.charts.svg import series_colour
from hetctl.bench.charts.timelines import timeline_charts
from hetctl.bench.findings import findings
from hetctl.bench.html.cells import rows, tiles
from hetctl.bench.html.machine_use import HEADER, machine_use, shown_columns
from hetctl.bench.html.ranks import (
    memory_scale,
    planned_for,
    predictions,
    segments,
    time_scale,
    time_segments,
)
from hetctl.bench.metrics import OUTPUT_THROUGHPUT
from hetctl.bench.request_latencies import request_latencies
from hetctl.bench.results import Results, Run
from hetctl.bench.saturation import busiest_point
from hetctl.bench.summary import describe_interval, summarise
from hetctl.bench.sweep_verdict import judge_sweep, winners
from hetctl.bench.telemetry.record import Record, Window, read_record
from hetctl.bench.verdict import describe_load, describe_point
from hetctl.errors import HetctlError
from hetctl.units import format_bytes, format_duration

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"


def to_html(results: Results, folder: Path | None = None) -> str:
    """The report as one HTML document that loads nothing from anywhere.

    Args:
        folder: where ``results`` was read from; distributions and timelines are drawn from
            the files in it. Without it, or where they are gone, these charts are left out.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Not chosen by file name: everything is escaped, or model names could bring markup.
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": format_bytes,
        "duration": format_duration,
        "shell": shlex.join,
        "point": describe_point,
        "interval": describe_interval,
        "load": describe_load,
    }
    point = busiest_point(results)
    at_one = results.at(point)
    summary = summarise(at_one)
    sweep = len(results.loads) > 1
    names = measured_names(results)
    use = machine_use(results)
    return environment.get_template("page.html.j2").render(
        results=results,
        sweep=sweep,
        headline_load=at_one.offered_load,
        verdict=judge_sweep(results),
        winners=winners(results) if sweep else (),
        findings=findings(results),
        tiles=tiles(summary),
        tables=[
            (load, one, rows(results.at(load.point), one))
            for load in results.loads
            if (one := summarise(results.at(load.point))).measured
        ],
        curves=_drawn(sweep_charts(results) if sweep else {}),
        bars=_drawn(bar_charts(summary, names) if summary.measured else {}),
        headline_names=[one.name for one in summary.measured],
        distributions=_drawn(_distributions(at_one, names, folder)),
        machine_curves=_drawn(machine_charts(results) if sweep else {}),
        timelines=_drawn(_timelines(at_one, names, folder)),
        use_header=HEADER,
        use=use,
        use_columns=shown_columns(use),
        telemetry_notes=_telemetry_notes(results),
        colours={name: series_colour(i) for i, name in enumerate(names)},
        titles={one.name: one.title for one in results.configurations},
        names=names,
        predictions={one.name: predictions(one) for one in summary.measured},
        planned_for=planned_for,
        segments=segments,
        memory_scale=memory_scale,
        time_segments=time_segments,
        time_scale=time_scale,
    )


def _drawn(charts: Mapping[str, str]) -> "list[tuple[str, Markup]]":
    """SVG is ours, with every text in it escaped by matplotlib; it goes in as it is."""
    from markupsafe import Markup

    return [(title, Markup(svg)) for title, svg in charts.items()]


def _distributions(at_one: Results, names: tuple[str, ...], folder: Path | None) -> dict[str, str]:
    """Over the requests of all repeats."""
    if folder is None:
        return {}
    latencies = []
    for name in names:
        pooled: dict[str, list[float]] = {}
        for run in at_one.runs_of(name):
            for latency, values in request_latencies(folder / run.raw_result).items():
                pooled.setdefault(latency, []).extend(values)
        latencies.append(pooled)
    return distribution_charts(latencies)


def _timelines(at_one: Results, names: tuple[str, ...], folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    return timeline_charts([_record(at_one.runs_of(name), folder) for name in names])


def _record(runs: tuple[Run, ...], folder: Path) -> tuple[Record, Window] | None:
    """Of the run whose throughput is the median."""
    ordered = sorted(runs, key=lambda run: OUTPUT_THROUGHPUT.of(run.measurement))
    run = ordered[len(ordered) // 2] if ordered else None
    if run is None or run.telemetry is None:
        return None
    try:
        record = read_record(folder / run.telemetry)
    except HetctlError:
        return None
    window = record.window("load", run.measurement.duration_s)
    return (record, window) if window else None


def _telemetry_notes(results: Results) -> list[str]:
    """What could not be read in any run, once each."""
    notes = (
        note for run in results.runs if run.telemetry_digest for note in run.telemetry_digest.notes
    )
    return list(dict.fromkeys(notes))
