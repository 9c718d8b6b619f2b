"""Throughput and latency over load, in the terminal."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT, Metric
from hetctl.bench.results import Load, Results
from hetctl.bench.saturation import FLAT_POINTS, loads_for, saturation_point
from hetctl.bench.summary import value_over
from hetctl.bench.sweep_verdict import judge_sweep
from hetctl.bench.verdict import describe_point

_SHOWN = (OUTPUT_THROUGHPUT, LATENCIES["ttft"][1]["p50"], LATENCIES["tpot"][1]["p50"])


def sweep_headline(results: Results) -> RenderableType:
    """Who wins at which load."""
    verdict = judge_sweep(results)
    return Group(Text(verdict.headline, "bold"), Text(verdict.detail, "dim"))


def sweep_table(results: Results, ascii_only: bool = False) -> Table:
    """One row per load, and of each configuration throughput and median latencies.

    The load from which a configuration is saturated is marked with a star.
    """
    names = [one.name for one in results.configurations if results.runs_of(one.name)]
    table = Table(
        box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD,
        caption=_caption(results, names),
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("Load", no_wrap=True)
    for name in names:
        table.add_column(f"{name}\ntok/s, TTFT, TPOT", justify="right")
    saturated = {name: saturation_point(results, name) for name in names}
    for load in results.loads:
        cells = (_cell(results, name, load, saturated[name] == load.point) for name in names)
        table.add_row(describe_point(load), *cells)
    return table


def _cell(results: Results, name: str, load: Load, saturated: bool) -> Text:
    runs = results.runs_of(name, load.point)
    if not runs:
        failed = any(
            failure.configuration == name and failure.point in (load.point, None)
            for failure in results.failed
        )
        return Text("failed" if failed else "-", "yellow" if failed else "dim")

    def mean(metric: Metric) -> str:
        return metric.format(value_over([metric.of(run.measurement) for run in runs]).mean)

    text = ", ".join(map(mean, _SHOWN))
    return Text(f"{text} *" if saturated else text, "bold" if saturated else "")


def _caption(results: Results, names: list[str]) -> str:
    """What the star means, and what was spared."""
    lines = ["* saturated: 95% of the best throughput; latencies are medians."]
    for name in names:
        loads = loads_for(results, name)
        if len(loads) < len(results.loads):
            lines.append(
                f"{name} ended at {loads[-1].point}: {FLAT_POINTS} loads in a row brought less "
                "than 5% more."
            )
    return "\n".join(lines)
