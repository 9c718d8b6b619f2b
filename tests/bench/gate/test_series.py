"""Entries of many commits, as series with their changes, in words and as a picture."""

import io
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from rich.console import Console

from hetctl.bench.gate.history import Entry, entry_of
from hetctl.bench.gate.history_plot import history_png
from hetctl.bench.gate.history_view import history_view
from hetctl.bench.gate.series import Series, changes, series_of
from hetctl.bench.metrics import OUTPUT_THROUGHPUT, Metric, find_metric
from hetctl.bench.results import Load
from tests.bench import sample
from tests.bench.gate import noisy

TTFT = find_metric("p50_ttft")


def entry(day: int, slowdown: float = 1.0, commit: str | None = None, **changes: object) -> Entry:
    made = entry_of(noisy.measured(slowdown * random.Random(day).lognormvariate(0, 0.005)))
    update = {"git_commit": commit or f"{day:07x}ffff", "started": sample.STARTED + timedelta(day)}
    return made.model_copy(update=update | changes)


def slower_from(day: int, days: int = 24) -> list[Entry]:
    return [entry(d, 1.08 if d >= day else 1.0) for d in range(days)]


def only(entries: Sequence[Entry]) -> Series:
    (series,) = series_of(entries)
    return series


def test_points_are_in_the_order_they_were_measured() -> None:
    series = only([entry(3), entry(1), entry(2)])
    assert [point.label for point in series.points] == ["0000001", "0000002", "0000003"]


def test_runs_of_one_commit_in_a_row_make_one_point() -> None:
    series = only([entry(1, commit="a"), entry(2, commit="a"), entry(3, commit="b")])
    assert [len(point.figures["p50_ttft"]) for point in series.points] == [10, 5]
    back = only([entry(1, commit="a"), entry(2, commit="b"), entry(3, commit="a")])
    assert len(back.points) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"fingerprint": "beef"},
        {"model": "org/other"},
        {"configuration": "cpu"},
        {"load": Load(seed=1)},
    ],
)
def test_what_cannot_be_compared_is_another_series(other: dict[str, object]) -> None:
    series = series_of([entry(1), entry(2, **other), entry(3)])
    assert [len(one.points) for one in series] == [2, 1]
    assert len({one.name for one in series}) == 2


def test_the_commit_of_a_change_is_found_with_its_size() -> None:
    (change,) = changes(only(slower_from(15)), OUTPUT_THROUGHPUT)
    assert (change.at, change.point.label, change.before.label) == (15, "000000f", "000000e")
    assert change.ratio == pytest.approx(1 / 1.08, rel=0.01)
    assert change.worse
    (change,) = changes(only(slower_from(15)), TTFT)
    assert change.ratio == pytest.approx(1.08, rel=0.01)
    assert change.worse


def test_points_that_lack_a_metric_are_left_out() -> None:
    old = entry(1).model_copy(update={"figures": {"output_throughput": (1.0,)}})
    series = only([old, entry(2)])
    assert len(series.having([OUTPUT_THROUGHPUT]).points) == 2
    assert len(series.having([OUTPUT_THROUGHPUT, TTFT]).points) == 1


def shown(series: Series, *metrics: Metric) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(history_view(series, metrics))
    return text.getvalue()


def test_the_terminal_names_each_change_and_what_was_updated() -> None:
    entries = slower_from(15)
    newer = entries[0].versions.model_copy(update={"vllm": "0.27.0"})
    entries[15:] = [one.model_copy(update={"versions": newer}) for one in entries[15:]]
    text = shown(only(entries), OUTPUT_THROUGHPUT, TTFT)
    assert "hybrid of org/tiny-8b, 24 commits" in text
    assert "output_throughput: 1 change, now 9" in text
    assert "000000f (2026-01-17): " in text
    assert "worse (after 000000e)" in text
    assert "vllm 0.26.0 -> 0.27.0" in text
    assert "no change" in shown(only(slower_from(99)), TTFT)


def test_a_point_without_a_commit_is_named_by_its_day() -> None:
    series = only([entry(1).model_copy(update={"git_commit": None}), entry(2, commit="abc-dirty")])
    assert [point.label for point in series.points] == ["2026-01-03", "abc-dirty"]


@pytest.mark.parametrize("days", [1, 2, 40])
def test_the_picture_is_drawn_for_short_and_long_series(days: int) -> None:
    picture = history_png(only(slower_from(20, days)), [OUTPUT_THROUGHPUT, TTFT])
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 10_000
