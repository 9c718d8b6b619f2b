"""Reading what ``vllm bench serve`` wrote; the fixtures are real files of vLLM 0.26.0."""

import json
from pathlib import Path

import pytest

from hetctl.bench.vllm_result import read_measurement
from hetctl.errors import HetctlError

FIXTURES = Path(__file__).parent / "fixtures"
WHOLE = FIXTURES / "vllm_result.json"


def altered(tmp_path: Path, **changes: object) -> Path:
    data = json.loads(WHOLE.read_text()) | changes
    path = tmp_path / "altered.json"
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    return path


def test_milliseconds_become_seconds_and_totals_are_kept() -> None:
    raw = json.loads(WHOLE.read_text())
    measured = read_measurement(WHOLE)
    assert (measured.completed, measured.failed) == (12, 0)
    assert (measured.input_tokens, measured.output_tokens) == (12 * 16, 12 * 8)
    assert measured.ttft.p50_s == pytest.approx(raw["p50_ttft_ms"] / 1000)
    assert measured.e2el.p99_s == pytest.approx(raw["p99_e2el_ms"] / 1000)
    assert measured.itl.mean_s == pytest.approx(raw["mean_itl_ms"] / 1000)
    assert measured.output_throughput == pytest.approx(96 / measured.duration_s)


def test_failed_requests_are_counted_and_their_different_errors_kept() -> None:
    measured = read_measurement(FIXTURES / "vllm_result_with_failures.json")
    assert (measured.completed, measured.failed) == (8, 4)
    assert measured.errors == ("Mock Failure",)


def test_no_successful_request_is_an_error_that_quotes_the_last_line_of_the_cause(
    tmp_path: Path,
) -> None:
    trace = "Traceback (most recent call last):\n  File x\nConnectionRefusedError: port 1"
    path = altered(tmp_path, completed=0, failed=12, errors=["", trace, trace])
    with pytest.raises(HetctlError, match=r"None of the 12 .*: ConnectionRefusedError: port 1"):
        read_measurement(path)


def test_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "raw.json"
    path.write_text(WHOLE.read_text()[:500])
    with pytest.raises(HetctlError, match=r"raw\.json is cut short"):
        read_measurement(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(HetctlError, match=r"wrote no result file .*raw\.json"):
        read_measurement(tmp_path / "raw.json")


@pytest.mark.parametrize("field", ["duration", "p90_tpot_ms", "total_output_tokens"])
def test_missing_figure_is_named(tmp_path: Path, field: str) -> None:
    with pytest.raises(HetctlError, match=field):
        read_measurement(altered(tmp_path, **{field: None}))


def test_impossible_figure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HetctlError, match="duration_s"):
        read_measurement(altered(tmp_path, duration=-1.0))
