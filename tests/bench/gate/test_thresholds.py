"""What users may write as a threshold, and what they are told when they may not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.bench.gate.thresholds import (
    DEFAULTS,
    default_thresholds,
    parse_threshold,
    parse_thresholds,
    read_threshold_file,
)
from hetctl.bench.metrics import ALL_METRICS, Metric
from hetctl.bench.results import Load
from hetctl.errors import UsageError


def ratios(metric: Metric) -> st.SearchStrategy[float]:
    low, high = (0.01, 0.99) if metric.higher_is_better else (1.01, 100.0)
    return st.floats(low, high).map(lambda value: float(f"{value:.6g}"))


@given(st.sampled_from(ALL_METRICS).flatmap(lambda m: st.tuples(st.just(m), ratios(m))))
def test_what_is_printed_can_be_read_again(case: tuple[Metric, float]) -> None:
    metric, limit = case
    threshold = parse_threshold(f" {metric.key} {'<' if metric.higher_is_better else '>'} {limit} ")
    assert (threshold.metric, threshold.limit) == (metric, limit)
    assert parse_threshold(str(threshold)) == threshold


@given(st.text(max_size=40))
def test_any_text_is_a_threshold_or_an_error_of_the_user(text: str) -> None:
    try:
        threshold = parse_threshold(text)
    except UsageError:
        return
    assert threshold.limit > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("output_throughput", "not of the form"),
        ("output_throughput<", "not of the form"),
        ("output_throughput<-1", "not of the form"),
        ("output_throughput<nan", "not of the form"),
        ("output_throughput<=0.95", "not of the form"),
        ("p98_ttft>1.1", "no metric 'p98_ttft'"),
        ("output_throughput>1.05", "higher is better.*output_throughput<RATIO"),
        ("p99_ttft<0.9", "lower is better.*p99_ttft>RATIO"),
        ("output_throughput<1.0", "between 0 and 1"),
        ("output_throughput<0", "between 0 and 1"),
        ("p99_ttft>1", "above 1"),
    ],
)
def test_a_wrong_threshold_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        parse_threshold(text)


def test_one_metric_has_one_threshold() -> None:
    with pytest.raises(UsageError, match=r"p99_ttft has two thresholds, p99_ttft>1.1 and .*1.2"):
        parse_thresholds(["p99_ttft>1.1", "ttft_p99>1.2"])


def test_a_file_holds_what_the_command_line_takes(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('fail = ["output_throughput<0.97", "p99_ttft>1.2"]\n')
    thresholds = parse_thresholds(read_threshold_file(path))
    assert [str(one) for one in thresholds] == ["output_throughput<0.97", "p99_ttft>1.2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fail = [", "not valid TOML"),
        ("fail = []", "one list of thresholds"),
        ('fail = "output_throughput<0.95"', "one list of thresholds"),
        ("fail = [0.95]", "one list of thresholds"),
        ('fail = ["output_throughput<0.95"]\nwarn = 1', "one list of thresholds"),
        ("", "one list of thresholds"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        read_threshold_file(path)
    assert str(path) in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.toml: No such file"):
        read_threshold_file(tmp_path / "nowhere.toml")


def test_a_single_output_token_has_no_time_per_token() -> None:
    assert tuple(map(str, default_thresholds(Load()))) == tuple(
        map(str, parse_thresholds(DEFAULTS))
    )
    keys = [one.metric.key for one in default_thresholds(Load(output_len=1))]
    assert keys == ["output_throughput", "p50_ttft"]
