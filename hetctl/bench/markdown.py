"""``results.md``: the comparison for an issue or a pull request."""

import re
import shlex
from collections.abc import Iterable, Sequence

from hetctl.bench.efficiency import EFFICIENCY, EfficiencyFigure
from hetctl.bench.findings import findings
from hetctl.bench.metrics import Metric, format_number
from hetctl.bench.results import Results
from hetctl.bench.saturation import busiest_point
from hetctl.bench.summary import ConfigurationSummary, Summary, describe_interval, summarise
from hetctl.bench.sweep_verdict import judge_sweep, winners
from hetctl.bench.verdict import describe_load, describe_point
from hetctl.units import format_bytes, format_duration

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def to_markdown(results: Results) -> str:
    """GitHub-flavoured Markdown; names and messages cannot inject markup."""
    verdict = judge_sweep(results)
    at_one = results.at(busiest_point(results))
    sections = [
        f"# Benchmark of {markdown_text(results.model)}",
        f"**{markdown_text(verdict.headline)}** {markdown_text(verdict.detail)}",
        *_winners(results),
        *_comparison(at_one, summarise(at_one)),
        *_findings(results),
        *_configurations(results),
        *_environment(results),
    ]
    return "\n\n".join(sections) + "\n"


def _winners(results: Results) -> Iterable[str]:
    """Of a sweep, the fastest at each load."""
    if len(results.loads) == 1:
        return
    rows = [
        (
            describe_point(one.load),
            markdown_text(one.name),
            format_number(one.rate),
            f"{one.ratio:.2f}x {markdown_text(one.second)}" if one.second else "",
            describe_interval(one.interval),
        )
        for one in winners(results)
    ]
    yield markdown_table(("Load", "Fastest", "Output tok/s", "Of the next", "95% interval"), rows)
    yield f"With {describe_point(results.load_at(busiest_point(results)))}, the most throughput:"


def _comparison(results: Results, summary: Summary) -> Iterable[str]:
    if not summary.measured:
        return
    costs = [
        (figure.title, *(_cost(figure, results, one) for one in summary.measured))
        for figure in EFFICIENCY
        if any(figure.value(results, one.runs) for one in summary.measured)
    ]
    yield markdown_table(
        ("", *(one.name for one in summary.measured)),
        [
            (metric.title, *(_cell(summary, one, metric) for one in summary.measured))
            for metric in summary.metrics
        ]
        + costs,
    )
    if summary.reference is not None:
        yield (
            "Best in bold. In brackets: times better than "
            f"{markdown_text(summary.reference.name)}, the fastest baseline."
        )


def _cell(summary: Summary, one: ConfigurationSummary, metric: Metric) -> str:
    value = one.value(metric)
    text = metric.format(value.mean)
    if value.half_width is not None:
        text += f" ± {metric.format(value.half_width)}"
    if summary.best(metric) == one.name:
        text = f"**{text}**"
    speedup = summary.speedup(one, metric)
    return text if speedup is None else f"{text} ({speedup:.2f}x)"


def _cost(figure: EfficiencyFigure, results: Results, one: ConfigurationSummary) -> str:
    value = figure.value(results, one.runs)
    return figure.format(value.mean) if value else ""


def _findings(results: Results) -> Iterable[str]:
    found = findings(results)
    if found:
        yield "\n".join(f"* {finding.level}: {markdown_text(finding.text)}" for finding in found)


def _configurations(results: Results) -> Iterable[str]:
    yield "## Configurations"
    lines = [
        f"* {markdown_text(c.name)}: {markdown_text(c.title)}. {markdown_text(c.why)}"
        for c in results.configurations
    ]
    lines += [
        f"* not run, {markdown_text(s.name)}: {markdown_text(s.reason)}" for s in results.skipped
    ]
    yield "\n".join(lines)
    # A paragraph of its own: right after a list, indented text would belong to its last item.
    yield "Commands, in this order:"
    commands = (shlex.join(c.command.argv) for c in results.configurations if c.command)
    # Indented code holds any text; a fence could be closed by three backticks in it.
    yield "\n".join(f"    {command}".replace("\n", " ") for command in commands)


def _environment(results: Results) -> Iterable[str]:
    environment = results.environment
    machine, versions = environment.machine, environment.versions
    gpus = ", ".join(f"{g.name} ({format_bytes(g.memory_total_bytes)})" for g in machine.gpus)
    cores = sum(len(node.cores) for node in machine.numa_nodes)
    rows = [
        *(("Load", f"{describe_load(load)}, seed {load.seed}") for load in results.loads),
        ("GPUs", gpus or "none"),
        ("CPU", f"{machine.cpu.model}, {cores} cores in {len(machine.numa_nodes)} NUMA nodes"),
        (
            "Software",
            f"hetctl {versions.hetctl}, vLLM {versions.vllm or 'unknown'}, "
            f"torch {versions.torch or 'unknown'}, Python {versions.python}",
        ),
        ("Driver", versions.driver or "none"),
        ("Commit", environment.git_commit or "none"),
        ("Started", environment.started.isoformat()),
        ("Took", format_duration(results.duration_s)),
        ("Command", shlex.join(environment.argv)),
    ]
    yield "## Environment"
    yield markdown_table(
        ("What", "Value"), [(name, markdown_text(value)) for name, value in rows], align="---"
    )


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], align: str = "---:"
) -> str:
    """A pipe table; ``align`` is for every column but the first."""
    lines = [header, ["---"] + [align] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text: str) -> str:
    """Plain text in Markdown: one line, no markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
