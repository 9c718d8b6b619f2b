"""The history of each workload in a terminal: where it stands, and where it changed."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hetctl.bench.gate.series import Change, Series, changes
from hetctl.bench.metrics import Metric
from hetctl.bench.results import Versions
from hetctl.bench.verdict import describe_load


def history_view(series: Series, metrics: Sequence[Metric]) -> RenderableType:
    """A heading, then a line per metric and per change."""
    return Group(*_lines(series, metrics))


def _lines(series: Series, metrics: Sequence[Metric]) -> Iterator[Text]:
    count = len(series.points)
    commits = "1 commit" if count == 1 else f"{count} commits"
    machine = series.fingerprint or "unknown"
    yield Text(f"{series.configuration} of {series.model}, {commits}", "bold")
    yield Text(f"{describe_load(series.load)}, machine {machine}", "dim")
    for metric in metrics:
        found = changes(series, metric)
        newest = metric.format(series.medians(metric)[-1])
        said = (
            "no change" if not found else "1 change" if len(found) == 1 else f"{len(found)} changes"
        )
        yield Text(f"  {metric.key}: {said}, now {newest}")
        yield from (_change(change) for change in found)


def _change(change: Change) -> Text:
    levels = " -> ".join(map(change.metric.format, (change.old_level, change.new_level)))
    which = "worse" if change.worse else "better"
    text = (
        f"    {change.point.label} ({change.point.started:%Y-%m-%d}): {levels}, "
        f"x{change.ratio:.3f}, {which} (after {change.before.label})"
    )
    if updated := _updated(change.before.versions, change.point.versions):
        text += f"; {updated}"
    return Text(text, "red" if change.worse else "green")


def _updated(before: Versions, after: Versions) -> str:
    """``vllm 0.26.0 -> 0.27.0``."""
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in Versions.model_fields)
    return ", ".join(f"{name} {old} -> {new}" for name, old, new in pairs if old != new)
