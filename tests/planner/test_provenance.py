"""A prediction is called what the weakest rate that it rests on is."""

from typing import Any

import pytest

from hetctl.document import FigureByBytes, FigureByRows, Source
from hetctl.machine import Machine
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, make_plan, parse_strategy
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import figure, gpu, machine, model, node


def curve(value: float) -> FigureByRows:
    return FigureByRows(rows=(1,), values=(value,), source="measured")


def times(source: Source = "measured") -> FigureByBytes:
    return FigureByBytes(sizes_bytes=(8192,), values=(1e-4,), source=source)


GPU: dict[str, Any] = {
    "weight_read_bytes_per_s_by_rows": curve(1.6e12),
    "attention_read_bytes_per_s_by_sequences": curve(1.5e12),
    "uva_read_bytes_per_s_by_rows": curve(40e9),
    "layer_overhead_s": figure(20e-6),
    "layer_overhead_eager_s": figure(300e-6),
    "hop_latency_s": figure(15e-6),
}
NODE: dict[str, Any] = {
    "weight_read_bytes_per_s_by_rows": curve(80e9),
    "attention_read_bytes_per_s_by_sequences": curve(50e9),
    "layer_overhead_s": figure(1e-4),
    "hop_latency_s": figure(1e-4),
    "hop_bytes_per_s": figure(80e9),
    "all_reduce_s_by_bytes": times(),
}


def where(gpu_figures: dict[str, Any] = GPU, node_figures: dict[str, Any] = NODE) -> Machine:
    return machine([gpu(**gpu_figures)], [node(**node_figures)])


def plan_of(strategy: str, here: Machine) -> Plan:
    memory = None if strategy == "gpu" else 12 * GIB
    request = PlanRequest(strategy=parse_strategy(strategy), gpu_memory_bytes=memory)
    return make_plan(here, model(), Workload(max_model_len=2048), request)


STRATEGIES = (
    *("gpu", "uva", "prefetch", "pipeline", "pipeline-uva", "pipeline-prefetch"),
    *("mixed-tp", "cpu"),
)
RESTS_ON = {
    "weight_read_bytes_per_s_by_rows": set(STRATEGIES) - {"cpu"},
    "attention_read_bytes_per_s_by_sequences": set(STRATEGIES) - {"cpu"},
    "layer_overhead_s": set(STRATEGIES) - {"cpu"},
    "layer_overhead_eager_s": {"mixed-tp"},
    "uva_read_bytes_per_s_by_rows": {"uva", "pipeline-uva"},
    "hop_latency_s": {"pipeline", "pipeline-uva", "pipeline-prefetch"},
}
"""A GPU's figures, and which strategies have their time from them."""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_machine_that_was_measured_whole_gives_measured_predictions(strategy: str) -> None:
    plan = plan_of(strategy, where())
    assert plan.prediction.rates == "measured"
    assert not any("estimates" in sentence for sentence in plan.explanation)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("missing", GPU)
def test_what_was_not_measured_makes_an_estimate_of_what_rests_on_it(
    missing: str, strategy: str
) -> None:
    plan = plan_of(strategy, where({k: v for k, v in GPU.items() if k != missing}))
    expected = "estimate" if strategy in RESTS_ON[missing] else "measured"
    assert plan.prediction.rates == expected


@pytest.mark.parametrize("missing", NODE)
def test_a_cpu_ranks_figures_count_where_it_takes_part(missing: str) -> None:
    here = where(GPU, {k: v for k, v in NODE.items() if k != missing})
    assert plan_of("prefetch", here).prediction.rates == "measured"
    mixed = plan_of("mixed-tp" if "all_reduce" in missing else "pipeline", here)
    assert mixed.prediction.rates == "estimate"


def test_the_estimates_are_named() -> None:
    here = where({**GPU, "hop_latency_s": None}, {**NODE, "layer_overhead_s": None})
    plan = plan_of("pipeline", here)
    assert any(
        "some rates of this machine were not measured (launches, hand-overs)" in sentence
        for sentence in plan.explanation
    )


def test_a_datasheet_is_between_the_two() -> None:
    sheet = {**GPU, "matmul_bf16_flops": figure(4e14, "datasheet")}
    assert plan_of("gpu", where(sheet)).prediction.rates == "datasheet"


def test_a_measured_all_reduce_says_nothing_about_more_ranks_than_two() -> None:
    here = machine([gpu(**GPU), gpu(1, **GPU)], [node(**NODE), node(1, **NODE)])
    request = PlanRequest(
        strategy="mixed-tp", gpu_memory_bytes=12 * GIB, devices=("cuda:0", "cuda:1", "cpu")
    )
    plan = make_plan(here, model(), Workload(max_model_len=2048), request)
    assert len(plan.ranks) == 4
    assert plan.prediction.rates == "estimate"
