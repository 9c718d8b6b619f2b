"""What the planner makes of measured rates."""

import pytest

from hetctl.document import FigureByBytes, FigureByRows
from hetctl.model.spec import Dtype
from hetctl.planner.cost import step_cost
from hetctl.planner.device import cpu_devices, gpu_device
from hetctl.planner.rates import KernelRates
from hetctl.planner.request import PlanRequest
from hetctl.planner.stage_time import resident_time
from hetctl.planner.steps import Step
from hetctl.planner.tensor_parallel import all_reduce_of
from tests.planner.machines import figure, gpu, machine, model, node


def curve(*values: float, rows: tuple[int, ...] = (1, 64)) -> FigureByRows:
    return FigureByRows(rows=rows, values=values, source="measured")


def cpu_rates(dtype: str = "bfloat16", **changes: object) -> KernelRates:
    """Of all cores of a node."""
    one = node(rate_cores=15, **changes)
    return cpu_devices(machine(nodes=[one]), None, dtype)[0].rates  # type: ignore[arg-type]


def test_each_dtype_has_its_own_measured_rate() -> None:
    tables = {
        "weight_read_bytes_per_s_by_rows": curve(60e9, 30e9),
        "weight_read_fp16_bytes_per_s_by_rows": curve(50e9, 10e9),
        "weight_read_fp32_bytes_per_s_by_rows": curve(70e9, 20e9),
    }
    found = {dtype: cpu_rates(dtype, **tables) for dtype in ("bfloat16", "float16", "float32")}
    assert [rates.weight_read.at(1) for rates in found.values()] == [60e9, 50e9, 70e9]
    # One FLOP per row and byte of 16-bit weights, half of one of 32-bit weights.
    flops = [rates.matmul_flops for rates in found.values()]
    assert flops == pytest.approx([64 * 30e9, 64 * 10e9, 0.5 * 64 * 20e9])


def test_a_dtype_that_was_not_measured_is_derived_from_bf16() -> None:
    tables = {"weight_read_bytes_per_s_by_rows": curve(60e9, 30e9)}
    rates = cpu_rates("float32", **tables)
    assert rates.weight_read.at(1) == 60e9
    assert rates.matmul_flops == pytest.approx(64 * 30e9 / 4)


def test_attention_reads_as_fast_as_so_many_sequences_did() -> None:
    table = curve(10e9, 40e9, rows=(1, 8))
    rates = cpu_rates(attention_read_bytes_per_s_by_sequences=table)
    found = [rates.attention_read.at(sequences) for sequences in (1, 8, 64)]
    assert found == pytest.approx([10e9, 40e9, 40e9])


def test_a_measured_all_reduce_of_two_ranks_replaces_the_estimate() -> None:
    table = FigureByBytes(sizes_bytes=(8192, 1_000_000), values=(100e-6, 1e-3), source="measured")
    here = machine(gpus=[gpu(), gpu(index=1)], nodes=[node(all_reduce_s_by_bytes=table)])
    cards = [gpu_device(card, PlanRequest(), "bfloat16") for card in here.gpus]
    cpu = cpu_devices(here, None, "bfloat16")[0]
    measured = all_reduce_of([cards[0], cpu])
    assert [measured(size) for size in (1, 8192, 1e6, 2e6)] == pytest.approx(
        [100e-6, 100e-6, 1e-3, 2e-3]
    )
    assert all_reduce_of([*cards, cpu])(8192) != pytest.approx(100e-6)


def test_prefills_reach_a_part_of_what_a_gemm_alone_did() -> None:
    listed, alone = figure(9.9e14, "datasheet"), figure(7.9e14)
    rates = [
        gpu_device(gpu(matmul_bf16_flops=rate), PlanRequest(), "bfloat16").rates.matmul_flops
        for rate in (listed, alone)
    ]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def gpu_rates_of(dtype: Dtype = "bfloat16", **changes: object) -> KernelRates:
    return gpu_device(gpu(**changes), PlanRequest(), dtype).rates


def test_a_gpus_float16_is_its_own_where_it_was_measured() -> None:
    bf16 = {"matmul_bf16_flops": figure(8e14)}
    both = {**bf16, "matmul_fp16_flops": figure(6e14)}
    assert gpu_rates_of("float16", **bf16).matmul_flops == gpu_rates_of(**bf16).matmul_flops
    ratio = gpu_rates_of("float16", **both).matmul_flops / gpu_rates_of(**both).matmul_flops
    assert ratio == pytest.approx(6 / 8)


def test_a_nodes_matrix_rate_in_a_dtype_is_its_own_where_it_was_measured() -> None:
    measured = {"matmul_fp16_flops": figure(1e12), "matmul_fp32_flops": figure(5e11)}
    flops = [cpu_rates(dtype, **measured).matmul_flops for dtype in ("float16", "float32")]
    assert flops == pytest.approx([0.8e12, 0.4e12])


def test_launches_without_graphs_take_what_they_took() -> None:
    both = {"layer_overhead_s": figure(20e-6), "layer_overhead_eager_s": figure(90e-6)}
    rates = gpu_rates_of(**both)
    assert rates.layer_overhead_s == 20e-6
    assert rates.without_graphs().layer_overhead_s == pytest.approx(90e-6)
    # An H200's, where nothing is known of this one.
    assert gpu_rates_of().without_graphs().layer_overhead_s == pytest.approx(360e-6)


def test_each_direction_of_a_hand_over_has_its_link() -> None:
    spec, step = model(), Step(64, 100.0)
    rates = gpu_rates_of(device_to_host_bytes_per_s=figure(25e9))
    cost = step_cost(spec, rates, step)
    size = 2 * 64 * 8192
    assert cost.hop_out_s - cost.hop_in_s == pytest.approx(size / 25e9 - size / 50e9)
    middle, first, last, only = cost.edges_s
    head = cost.head.total_s
    assert middle == pytest.approx(cost.hop_in_s + cost.hop_out_s)
    assert (first, last - head, only) == pytest.approx((cost.hop_out_s, cost.hop_in_s, head))
    whole = resident_time(cost, 1, 3), resident_time(cost, 0, 3), resident_time(cost, 1, 32)
    assert [time.transfer_s for time in whole] == pytest.approx([middle, first, last - head])


def test_a_gpus_float32_is_its_own_where_it_was_measured() -> None:
    def flops(**changes: object) -> float:
        card = gpu(matmul_bf16_flops=figure(8e14), **changes)
        return gpu_device(card, PlanRequest(), "float32").rates.matmul_flops

    assert flops(matmul_fp32_flops=figure(4e13)) / flops() == pytest.approx(4e13 / (8e14 / 15))
