"""The grid of benchmarks/planner_accuracy.py and its tables: what is measured, and what is said."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hetctl.cli.plan_options import PlanInputs
from hetctl.errors import UsageError
from hetctl.planner import PlanRequest
from hetctl.units import GIB
from tests.planner.machines import machine, model


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("planner_grid", monkeypatch)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("planner_table", monkeypatch)


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module(name)


def test_loads_that_ask_for_the_same_engine_share_its_start(grid: ModuleType) -> None:
    loads = list(grid.parse_loads("1x128,8x128,8x2048", 128, 18432))
    assert [load.max_model_len for load in loads] == [18432, 2304, 2304]
    inputs = PlanInputs(machine(), model(), loads[0], PlanRequest(gpu_memory_bytes=12 * GIB))
    choices = [grid.Choice(name) for name in ("gpu", "prefetch", "14-18@cuda:0-cpu", "auto")]
    found = grid.cases(inputs, choices, loads)
    assert len(found) == 12
    assert {case.choice.name for case in found if case.plan is None} == {"gpu"}
    engines = {engine.key: engine for engine in grid.engines(found)}
    split = engines["pipeline 14+18 cuda:0,cpu"]
    assert [grid.load_key(case.load) for case in split.cases] == ["1x128", "8x128", "8x2048"]
    # Long enough for all of its loads, and no longer than it must be.
    assert split.plan.max_model_len == 2304
    assert sum(len(engine.cases) for engine in engines.values()) == 9


@pytest.mark.parametrize("text", ["8", "8x", "axb", "64x2048", "8x2176"])
def test_loads_that_have_no_room_or_no_meaning_are_refused(grid: ModuleType, text: str) -> None:
    with pytest.raises(UsageError, match="--loads"):
        list(grid.parse_loads(text, 128, 18432))


def point(engine: str, rate: float, round_: int = 1) -> dict[str, Any]:
    figures = {"ttft_s": [0.09, 0.1, 5.0], "tpot_s": [0.05], "output_tokens_per_s": rate}
    return {"engine": engine, "load": "8x128", "round": round_, "error": None, "measured": figures}


def case(choice: str, engine: str | None, rate: float = 100.0) -> dict[str, Any]:
    told = {"ttft_s": 0.11, "tpot_s": 0.05, "output_tokens_per_s": rate}
    entry = {"choice": choice, "load": "8x128", "engine": engine, "prediction": told}
    return entry | {"why_not": "" if engine else "it needs more"}


def runs() -> dict[str, Any]:
    planned = {"rank": 0, "device": "cuda:0", "weight_bytes": 10 * GIB, "kv_cache_bytes": GIB}
    planned |= {"activation_bytes": GIB, "cuda_graph_bytes": 0, "framework_bytes": GIB}
    took = {"weight_bytes": 10 * GIB, "kv_cache_bytes": 2 * GIB, "activation_bytes": GIB}
    took |= {"cuda_graph_bytes": None, "used_bytes": 13 * GIB, "peak_bytes": 14 * GIB}
    took |= {"device_free_bytes": 100 * GIB}
    engine = {"key": "prefetch", "round": 1, "error": None, "ranks": [planned], "memory": [took]}
    engine |= {"gpu_free_before_bytes": {"cuda:0": 114 * GIB}}
    environment = {
        "machine": {"gpus": [{"name": "GPU"}], "numa_nodes": [], "cpu": {"model": "CPU"}},
        "versions": {"vllm": "0.26.0", "torch": "2.11.0"},
        "started": "2026-01-02",
    }
    grid = {
        "key": {"model": "m", "gpu_memory": "12GiB", "kv_tokens": 18432, "output_len": 128},
        "environment": environment,
        "cases": [
            case("gpu", None),
            case("prefetch", "prefetch", 100.0),
            case("auto", "pipeline 8+24", 130.0),
            case("pipeline", "pipeline 8+24", 130.0),
            case("uva", "uva"),
        ],
        "engines": [engine],
        "points": [
            point("prefetch", 125.0),
            point("prefetch", 135.0, 2),
            point("prefetch", 130.0, 3),
            point("pipeline 8+24", 104.0),
        ],
    }
    return {"schema": 1, "grids": [grid]}


def test_errors_are_of_medians_and_an_engine_counts_once(table: ModuleType) -> None:
    text = table.markdown(runs())
    assert "| tokens/s | 2 | **24.0%** | 10% | 25.0% | 25% |" in text
    assert "| TTFT | 2 | 10.0% | 15% | 10.0% | - |" in text
    assert "| TPOT | 2 | 0.0% | 10% | 0.0% | 25% |" in text
    assert "| prefetch | 8x128 | 110.0 ms | 100.0 ms | +10% |" in text


def test_the_choice_is_held_against_the_best_that_was_measured(table: ModuleType) -> None:
    text = table.markdown(runs())
    assert "| 8x128 | pipeline 8+24 | 104 | prefetch | 130 | **0.80** |" in text
    assert "on 0 of 1 loads at least 0.97" in text


def test_memory_that_was_planned_too_low_is_in_bold(table: ModuleType) -> None:
    # 12 GiB planned beside the KV cache; 14 at the peak, 1 of context, less 2 of KV cache: 13.
    text = table.markdown(runs())
    assert "12.0 GiB / 13.0 GiB | **-6.7%** |" in text
    assert "too low for 1 of 1 ranks" in text


def test_what_did_not_run_is_listed(table: ModuleType) -> None:
    missing = table.markdown(runs()).partition("## What is not in the tables")[2]
    assert "gpu at 8x128: it needs more" in missing
    assert "uva at 8x128: not measured" in missing
