"""Bytes per token and the share of the memory limit, against sums done by hand."""

import pytest

from hetctl.bench.memory_limit import memory_limit
from hetctl.bench.results import Measurement
from hetctl.document import Figure
from hetctl.machine import Machine
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Plan, PrefetchOffload, UvaOffload
from tests.bench import sample

GB = 10**9
LAYERS = 32
WEIGHTS = 500_000_000  # of each layer
HEAD = 1 * GB
KV = 4096  # per layer and token


def spec(**changes: object) -> ModelSpec:
    layer = LayerSpec(
        weight_bytes=WEIGHTS,
        decode_weight_bytes=WEIGHTS,
        flops_per_token=WEIGHTS,
        kv_bytes_per_token=KV,
    )
    fields: dict[str, object] = {
        "name": "m",
        "architecture": "A",
        "dtype": "bfloat16",
        "layers": (layer,) * LAYERS,
        "hidden_size": 4096,
        "vocab_size": 32000,
        "max_model_len": 4096,
        "attention_heads": 32,
        "kv_heads": 8,
        "head_dim": 128,
        "activation_bytes_per_token": 1,
        "embedding_bytes": HEAD,
        "head_bytes": HEAD,
        "parameters": 8 * GB,
        "active_parameters": 8 * GB,
    }
    return ModelSpec.model_validate(fields | changes)


def machine(source: str = "measured") -> Machine:
    """DRAM 100 GB/s, GPU 1 TB/s, PCIe 50 GB/s."""
    base = sample.machine()

    def rate(value: float) -> Figure:
        return Figure.model_validate({"value": value, "source": source})

    node = base.numa_nodes[0].model_copy(update={"memory_read_bytes_per_s": rate(100 * GB)})
    gpu = base.gpus[0].model_copy(
        update={
            "memory_read_bytes_per_s": rate(1000 * GB),
            "host_to_device_bytes_per_s": rate(50 * GB),
        }
    )
    return base.model_copy(update={"numa_nodes": (node,), "gpus": (gpu,)})


def measured(tpot_s: float = 0.08, decoding: int = 8) -> Measurement:
    """512 + 128 tokens: 576 tokens of context on average."""
    return sample.measurement(
        output_throughput=decoding / tpot_s, tpot=sample.distribution(tpot_s / 1.1)
    )


KV_READ = 8 * 576 * KV  # of each layer in a step of 8


def test_the_stages_of_a_pipeline_read_one_after_another() -> None:
    limit = memory_limit(spec(), sample.hybrid_plan(), machine(), measured())
    assert limit is not None
    cpu, gpu = 8 * (WEIGHTS + KV_READ), 24 * (WEIGHTS + KV_READ) + HEAD
    assert limit.step_s == pytest.approx(cpu / (100 * GB) + gpu / (1000 * GB))
    assert limit.bytes_per_token == pytest.approx((cpu + gpu) / 8)
    assert limit.share == pytest.approx(limit.step_s / 0.08)
    assert limit.measured_rates


def test_shares_of_a_layer_are_read_at_the_same_time() -> None:
    ranks = (sample.rank(0, "cpu", (0, 32), 99), sample.rank(1, "cuda:0", (0, 32), 99))
    plan = sample.plan(*ranks).model_copy(update={"tensor_parallel_size": 2})
    limit = memory_limit(spec(), plan, machine(), measured())
    assert limit is not None
    assert limit.step_s == pytest.approx((32 * (WEIGHTS + KV_READ) + HEAD) / 2 / (100 * GB))


def offloaded(plan: Plan, backend: str) -> Plan:
    offload = (
        UvaOffload(gib_per_gpu=4)
        if backend == "uva"
        else PrefetchOffload(group_size=4, num_in_group=1)
    )
    rank = plan.ranks[0].model_copy(update={"host_weight_bytes": 4 * GB})
    return plan.model_copy(update={"offload": offload, "ranks": (rank,)})


def test_streamed_weights_cost_the_link_in_turn_or_at_the_same_time() -> None:
    whole = sample.plan(sample.rank(0, "cuda:0", (0, 32), 24), strategy="uva")
    size = 32 * (WEIGHTS + KV_READ) + HEAD
    uva = memory_limit(spec(), offloaded(whole, "uva"), machine(), measured())
    assert uva is not None
    assert uva.step_s == pytest.approx((size - 4 * GB) / (1000 * GB) + 4 / 50)
    assert uva.bytes_per_token == pytest.approx(size / 8)
    prefetch = memory_limit(spec(), offloaded(whole, "prefetch"), machine(), measured())
    assert prefetch is not None
    assert prefetch.step_s == pytest.approx(4 / 50)
    assert prefetch.bytes_per_token == pytest.approx((size + 4 * GB) / 8)


def test_experts_that_no_token_chose_are_not_read() -> None:
    moe = LayerSpec(
        weight_bytes=WEIGHTS,
        decode_weight_bytes=WEIGHTS // 4,
        flops_per_token=WEIGHTS // 4,
        kv_bytes_per_token=KV,
        experts=8,
        experts_per_token=2,
    )
    plan = sample.plan(sample.rank(0, "cuda:0", (0, 32), 24))
    one = memory_limit(spec(layers=(moe,) * LAYERS), plan, machine(), measured(decoding=1))
    assert one is not None
    assert one.bytes_per_token == pytest.approx(LAYERS * (WEIGHTS / 4 + 576 * KV) + HEAD, rel=1e-6)


def test_a_window_bounds_what_is_read_of_the_kv_cache() -> None:
    layer = spec().layers[0].model_copy(update={"sliding_window": 64})
    plan = sample.plan(sample.rank(0, "cuda:0", (0, 32), 24))
    limit = memory_limit(spec(layers=(layer,) * LAYERS), plan, machine(), measured(decoding=1))
    assert limit is not None
    assert limit.bytes_per_token == pytest.approx(LAYERS * (WEIGHTS + 64 * KV) + HEAD)


def test_an_unknown_bandwidth_gives_no_limit_and_a_datasheet_is_told() -> None:
    assert memory_limit(spec(), sample.hybrid_plan(), sample.machine(), measured()) is None
    limit = memory_limit(spec(), sample.hybrid_plan(), machine("datasheet"), measured())
    assert limit is not None
    assert not limit.measured_rates
