"""The names that metrics go by."""

import pytest

from hetctl.bench.metrics import ALL_METRICS, find_metric
from hetctl.errors import UsageError
from tests.bench import sample


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.key)
def test_every_metric_is_found_by_its_key_and_gives_its_figure(metric) -> None:  # type: ignore[no-untyped-def]
    assert find_metric(metric.key) is metric
    assert metric.of(sample.measurement()) > 0


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("p99_ttft_ms", "p99_ttft"),
        ("ttft_p99", "p99_ttft"),
        ("median_tpot_ms", "p50_tpot"),
        ("tpot_median", "p50_tpot"),
        ("Mean_E2EL", "mean_e2el"),
        ("itl_p95_s", "p95_itl"),
        ("request_throughput", "request_throughput"),
    ],
)
def test_names_as_vllm_and_others_write_them(name: str, key: str) -> None:
    assert find_metric(name).key == key


@pytest.mark.parametrize("name", ["ttft", "p98_ttft", "goodput", "", "throughput"])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    with pytest.raises(UsageError, match=r"Rates are output_throughput, .* latencies are mean"):
        find_metric(name)


def test_goodput_without_limits_is_named() -> None:
    goodput = find_metric("request_goodput")
    assert goodput.of(sample.measurement(request_goodput=1.5)) == 1.5
    with pytest.raises(UsageError, match=r"needs limits on latency; give .* --ttft, --tpot or"):
        goodput.of(sample.measurement())
