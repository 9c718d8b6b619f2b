"""Result files of other engines, put beside what was measured here."""

import json
from pathlib import Path
from typing import Any

import pytest

from hetctl.bench.findings import findings
from hetctl.bench.imported import parse_import, read_records, with_import
from hetctl.bench.results import Load, Results
from hetctl.bench.schedule import to_come
from hetctl.errors import UsageError
from tests.bench import sample

VLLM = Path(__file__).parent / "fixtures" / "vllm_result.json"
# As tools/batched-bench/batched-bench.cpp of llama.cpp prints it, with its log around.
BATCHED = """
llama_context: n_ctx = 16384
{"n_kv_max": 16384, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 0, "is_pp_shared": 0, \
"n_gpu_layers": 99, "n_threads": 16, "n_threads_batch": 16, "pp": 512, "tg": 128, "pl": 1, \
"n_kv": 640, "t_pp": 0.250000, "speed_pp": 2048.0, "t_tg": 2.560000, "speed_tg": 50.0, \
"t": 2.810000, "speed": 227.758007}
{"n_kv_max": 16384, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 0, "is_pp_shared": 0, \
"n_gpu_layers": 99, "n_threads": 16, "n_threads_batch": 16, "pp": 512, "tg": 128, "pl": 8, \
"n_kv": 5120, "t_pp": 2.000000, "speed_pp": 2048.0, "t_tg": 6.400000, "speed_tg": 160.0, \
"t": 8.400000, "speed": 609.523810}

llama_perf_context_print: load time = {about} 300 ms
""".replace("\\\n", "")


@pytest.fixture
def batched(tmp_path: Path) -> Path:
    path = tmp_path / "llama.jsonl"
    path.write_text(BATCHED)
    return path


def vllm_result(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "vllm.json"
    path.write_text(json.dumps(json.loads(VLLM.read_text()) | changes))
    return path


def sweep() -> Results:
    loads = tuple(Load(max_concurrency=count) for count in (1, 4, 8))
    return sample.blank(sample.HYBRID, loads=loads, runs=(sample.run("hybrid"),))


def test_llama_batched_bench_gives_a_run_per_batch_size(batched: Path, tmp_path: Path) -> None:
    joined = with_import(sweep(), "llama.cpp", batched, tmp_path / "out")
    runs = joined.runs_of("llama.cpp")
    assert [(run.point, run.repeat) for run in runs] == [("c1", 1), ("c8", 1)]
    measured = runs[1].measurement
    assert measured.output_throughput == pytest.approx(8 * 128 / 8.4)
    assert measured.total_token_throughput == pytest.approx(609.52381)
    assert measured.ttft.p99_s == measured.ttft.mean_s == 2.0
    assert measured.tpot.p50_s == pytest.approx(6.4 / 128)
    assert measured.e2el.p50_s == pytest.approx(8.4)
    assert (measured.completed, measured.input_tokens) == (8, 8 * 512)
    assert (tmp_path / "out" / runs[0].raw_result).read_text() == BATCHED
    assert "lock-step" in joined.configuration("llama.cpp").why
    joined.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == joined


def test_an_imported_engine_is_not_run_nor_held_to_the_number_of_requests(
    batched: Path, tmp_path: Path
) -> None:
    joined = with_import(sweep(), "llama.cpp", batched, tmp_path)
    assert {coming.configuration.name for coming in to_come(joined)} == {"hybrid"}
    assert not [one for one in findings(joined) if "tokens" in one.text]


def test_vllm_bench_serve_gives_a_run_with_its_date_and_label(tmp_path: Path) -> None:
    path = vllm_result(tmp_path, label="sglang", date="20260102-030405", request_goodput=3.0)
    raw = json.loads(path.read_text())
    load = Load(input_len=16, output_len=8, max_concurrency=raw["max_concurrency"])
    joined = with_import(sample.blank(sample.CPU, loads=(load,)), "other", path, tmp_path)
    (run,) = joined.runs_of("other")
    assert run.measurement.output_throughput == raw["output_throughput"]
    assert run.measurement.request_goodput is None, "of limits that are not known"
    assert (run.started.hour, run.started.second) == (3, 5)
    assert joined.configuration("other").title == "sglang, imported"


def test_several_results_of_one_point_are_repeats(tmp_path: Path) -> None:
    """``vllm bench serve --append-result`` puts one object after the other."""
    one = vllm_result(tmp_path)
    twice = tmp_path / "twice.json"
    twice.write_text(one.read_text() + "\n" + one.read_text())
    cap = json.loads(one.read_text())["max_concurrency"]
    load = Load(input_len=16, output_len=8, max_concurrency=cap)
    joined = with_import(sample.blank(sample.CPU, loads=(load,)), "other", twice, tmp_path)
    assert [run.repeat for run in joined.runs] == [1, 2]


LLAMA_BENCH = '{"n_prompt": 512, "n_gen": 0, "avg_ts": 5765.4, "stddev_ts": 20.5}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no result"),
        ("pp tg", "holds no result"),
        ('{"a": 1}', "is neither a result of 'vllm bench serve' nor of 'llama-batched-bench"),
        (LLAMA_BENCH, "is of llama-bench, which measures prompts and answers apart"),
        (BATCHED[:-200], "is cut short or damaged"),
        (BATCHED.replace('"is_pp_shared": 0', '"is_pp_shared": 1'), "with one prompt for all"),
        (BATCHED.replace('"tg": 128', '"tg": 0'), "lacks a prompt or an answer"),
        (VLLM.read_text()[:300], "is cut short or damaged"),
        (VLLM.read_text().replace('"p90_ttft_ms"', '"other"'), "has no field 'p90_ttft_ms'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_records(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_other_points_and_other_work_are_refused(batched: Path, tmp_path: Path) -> None:
    other = sample.blank(sample.CPU, loads=(Load(max_concurrency=3),))
    with pytest.raises(UsageError, match=r"has runs at c1, c8, and this benchmark at c3: none"):
        with_import(other, "x", batched, tmp_path)
    longer = sample.blank(sample.CPU, loads=(Load(input_len=1024),))
    with pytest.raises(UsageError, match=r"requests of 512 \+ 128 tokens at c8, and .* of 1024"):
        with_import(longer, "x", batched, tmp_path)
    with pytest.raises(UsageError, match="There is a configuration hybrid already"):
        with_import(sweep(), "hybrid", batched, tmp_path)
    with pytest.raises(UsageError, match="Cannot read the result file"):
        with_import(sweep(), "x", tmp_path / "no", tmp_path)


def test_an_import_has_a_name_and_a_file() -> None:
    assert parse_import("llama.cpp=a=b.jsonl") == ("llama.cpp", Path("a=b.jsonl"))
    for text in ("file.json", "x=", "=file", "Big=file"):
        with pytest.raises(UsageError, match="--import"):
            parse_import(text)
