"""Latencies of single requests agree with the figures that vLLM makes of them."""

import json
from pathlib import Path
from statistics import fmean

import pytest

from hetctl.bench.request_latencies import LATENCY_NAMES, request_latencies

FIXTURE = Path(__file__).parent / "fixtures/vllm_result.json"


def test_means_are_those_that_vllm_computed() -> None:
    data = json.loads(FIXTURE.read_text())
    found = request_latencies(FIXTURE)
    for name in LATENCY_NAMES:
        assert fmean(found[name]) * 1e3 == pytest.approx(data[f"mean_{name}_ms"], rel=0.02)
    assert len(found["ttft"]) == data["completed"]


def test_failed_requests_do_not_count() -> None:
    data = json.loads((FIXTURE.parent / "vllm_result_with_failures.json").read_text())
    found = request_latencies(FIXTURE.parent / "vllm_result_with_failures.json")
    assert len(found["ttft"]) == data["completed"] < data["num_prompts"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"ttfts": [1], "itls": [], "output_lens": []}'])
def test_other_files_have_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "raw.json"
    path.write_text(text)
    assert request_latencies(path) == {}
    assert request_latencies(tmp_path / "none.json") == {}
