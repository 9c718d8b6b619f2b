"""Layers divided among ranks: what divides, what a rank holds, and what an all-reduce costs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hetctl.errors import DoesNotFitError
from hetctl.model.config import read_model_spec
from hetctl.model.spec import ModelSpec
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.device import cpu_devices, gpu_device
from hetctl.planner.inventory import take_inventory
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.strategy import Candidate, candidates
from hetctl.planner.tensor_parallel import all_reduce_of, cannot_divide, groups_of, share_of
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import gpu, machine, model, node

LOAD = Workload(max_model_len=2048)

QWEN_MOE: dict[str, Any] = {
    "architectures": ["Qwen2MoeForCausalLM"],
    "model_type": "qwen2_moe",
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 96,
    "shared_expert_intermediate_size": 192,
    "torch_dtype": "bfloat16",
}


def read(tmp_path: Path, **changes: Any) -> ModelSpec:
    (tmp_path / "config.json").write_text(json.dumps({**QWEN_MOE, **changes}))
    return read_model_spec(str(tmp_path))


def found(
    spec: ModelSpec, strategy: str, gpus: int = 1, nodes: int = 1, gib: int = 12
) -> Candidate:
    request = PlanRequest(gpu_memory_bytes=gib * GIB)
    inventory = take_inventory(machine(gpus, nodes), spec, request)
    tried = candidates(inventory, Placer(spec, LOAD, 2048))
    return next(one for one in tried if one.strategy == strategy)


def placed(spec: ModelSpec, strategy: str, gpus: int = 1, nodes: int = 1) -> Placement:
    placement = found(spec, strategy, gpus, nodes).placement
    assert placement is not None
    return placement


@pytest.mark.parametrize(
    ("changes", "ranks", "why"),
    [
        ({"num_attention_heads": 14}, 4, "14 attention heads and 2 KV heads"),
        ({"num_attention_heads": 12, "num_key_value_heads": 3}, 2, "3 KV heads cannot"),
        ({"moe_intermediate_size": 90}, 4, "the expert width of 90 cannot be divided among 4"),
        ({"shared_expert_intermediate_size": 190}, 4, "the shared expert width of 190"),
        ({"num_experts": 0, "intermediate_size": 510}, 4, "the MLP width of 510"),
        ({"num_attention_heads": 12, "num_key_value_heads": 12}, 3, "the vocabulary of 1000"),
    ],
)
def test_what_does_not_divide_is_named(
    tmp_path: Path, changes: dict[str, int], ranks: int, why: str
) -> None:
    assert why in (cannot_divide(read(tmp_path, **changes), ranks) or "")


WIDE = {
    "shared_sizes": (("vocabulary", 128256), ("MLP width", 18944)),
    "attention_heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
}
"""18,944 is 148 times 128: divided by 8, that is 18 and a half."""


@pytest.mark.parametrize(
    ("changes", "ranks", "why"),
    [
        ({"scale_block": (1, 128)}, 4, None),
        ({"scale_block": (1, 128)}, 8, "MLP width of 18944 divided among 8 ranks is 2368, and 128"),
        ({"scale_block": (1, 64)}, 8, None),
        ({"scale_block": (128, 128)}, 8, "MLP width of 18944"),
        ({"scale_block": (128, 64), "head_dim": 64}, 4, None),
        ({"scale_block": (128, 64), "head_dim": 64}, 8, "18944"),
        (
            {"scale_block": (128, 64), "head_dim": 64, "shared_sizes": (("MLP width", 16384),)},
            8,
            "64 channels of keys on each of 8 ranks, and 128 share a scale",
        ),
        (
            {"scale_block": (1, 128), "head_dim": 80, "shared_sizes": (("MLP width", 16384),)},
            8,
            "width of attention of 2560",
        ),
        ({"scale_block": (1, 128), "shared_sizes": (("expert width", 1408),)}, 8, None),
        ({"scale_block": (128, 128), "shared_sizes": (("expert width", 1408),)}, 8, "expert width"),
        ({"scale_block": (1, 128), "shared_sizes": (("shared expert width", 1408),)}, 8, "1408"),
        ({}, 8, None),
    ],
)
def test_ranks_do_not_share_what_shares_a_scale(
    changes: dict[str, Any], ranks: int, why: str | None
) -> None:
    found = cannot_divide(model(**{**WIDE, **changes}), ranks)
    assert found is None if why is None else why in (found or "")


def test_quantised_layers_are_divided_among_as_many_gpus_as_their_scales_allow() -> None:
    spec = model(**WIDE, quantised=True, scale_block=(1, 128))
    plan = make_plan(machine(gpus=8), spec, LOAD, PlanRequest(strategy="gpu-tp"))
    assert plan.tensor_parallel_size == 4


def test_what_vllm_pads_or_copies_divides(tmp_path: Path) -> None:
    # 1,000 tokens become 1,024; four ranks hold copies of two KV heads.
    assert cannot_divide(read(tmp_path), 4) is None


def test_a_share_holds_what_vllm_divides_and_all_of_the_rest(tmp_path: Path) -> None:
    spec = read(tmp_path)
    share = share_of(spec, 4)
    hidden, head = 256, 32
    attention = 2 * hidden * 2 * head + 2 * head + hidden * head + head  # q, o; 1 of 2 KV heads
    attention += hidden * head + head
    experts = 8 * 3 * hidden * 96 // 4 + 3 * hidden * 192 // 4
    whole = 2 * hidden + hidden * 8 + hidden  # norms, router, the shared expert's gate
    assert share.layers[0].weight_bytes == 2 * (attention + experts + whole)
    assert share.layers[0].kv_bytes_per_token == spec.layers[0].kv_bytes_per_token // 2
    assert share.embedding_bytes == 2 * 1024 * hidden // 4


def test_a_mixed_group_has_no_cuda_graphs_and_pays_for_it() -> None:
    placement = placed(model(), "mixed-tp")
    on_gpu, on_cpu = placement.stages
    assert (on_gpu.device.kind, on_cpu.device.kind) == ("cuda", "cpu")
    assert memory_of_half(graphs=True) - memory_of_half(graphs=False) > 128 * 2**20
    # Launched kernel by kernel: 16 ms per step of an 8B model on an H200.
    assert on_gpu.decode.overhead_s == pytest.approx(32 * 360e-6)
    assert placed(model(), "gpu-tp", gpus=2).stages[0].decode.overhead_s < 1e-3


def memory_of_half(graphs: bool) -> int:
    """Bytes that half of a model takes on a GPU."""
    card, spec = gpu_device(gpu(), PlanRequest(), "bfloat16"), model()
    serving = replace(Placer(spec, LOAD, 2048).serving([card]), cuda_graphs=graphs)
    return MemoryModel.of(share_of(spec, 2), serving).needed(card, 0, 32)


def test_every_layer_waits_for_two_all_reduces() -> None:
    placement = placed(model(), "mixed-tp")
    reduce = all_reduce_of(placement.devices)
    state = LOAD.concurrency * 4096 * 2
    logits = LOAD.concurrency * 128257
    expected = (2 * 32 + 1) * reduce(state) + reduce(logits)
    assert placement.stages[0].decode.transfer_s == pytest.approx(expected)


def test_an_all_reduce_across_kinds_is_one_hand_over_and_more_for_many_bytes() -> None:
    card = gpu_device(gpu(), PlanRequest(), "bfloat16")
    (cpu,) = cpu_devices(machine(), None, "bfloat16")
    reduce = all_reduce_of([card, cpu])

    def hop(size: float) -> float:
        return sum(d.rates.hop_latency_s + size / d.rates.hop_in_bytes_per_s for d in (card, cpu))

    # docs/results/collectives.md, beside the hops of the same machine.
    assert reduce(8192) / hop(8192) == pytest.approx(99.6 / 101.1, rel=0.05)
    assert reduce(64 * 2**20) / hop(64 * 2**20) == pytest.approx(55.6 / 10.9, rel=0.1)
    sizes = [2**exponent for exponent in range(10, 30)]
    assert sorted(map(reduce, sizes)) == [reduce(size) for size in sizes]


def test_more_members_of_a_kind_sum_among_themselves_first() -> None:
    cards = [gpu_device(gpu(i), PlanRequest(), "bfloat16") for i in range(2)]
    cpus = cpu_devices(machine(nodes=2), None, "bfloat16")
    one = all_reduce_of([cards[0], cpus[0]])(8192)
    gpus_alone = all_reduce_of(cards)(8192)
    assert all_reduce_of([*cards, cpus[0]])(8192) == pytest.approx(one + gpus_alone)
    assert all_reduce_of([*cards, *cpus])(8192) > one + gpus_alone


def test_groups_take_the_fastest_cpus_and_all_of_them_where_asked_for() -> None:
    slow = node(0, memory_read_bytes_per_s=node().memory_read_bytes_per_s)
    fast = node(1).model_copy(update={"memory_read_bytes_per_s": gpu().memory_read_bytes_per_s})
    cpus = cpu_devices(machine(nodes=[slow, fast]), None, "bfloat16")
    cards = [gpu_device(gpu(i), PlanRequest(), "bfloat16") for i in range(2)]
    groups = groups_of(cards, cpus, all_cpus=False)
    assert [len(group) for group in groups] == [4, 3, 2]
    assert groups[-1][1].numa_node == 1
    assert [len(group) for group in groups_of(cards, cpus, all_cpus=True)] == [4, 3]


def test_only_groups_that_divide_the_model_are_considered() -> None:
    placement = placed(model(), "mixed-tp", gpus=2, nodes=2)
    assert placement.tensor_parallel in (2, 4)  # never 3 of 32 heads
    odd = model(attention_heads=15, kv_heads=15)
    assert "15 attention heads and 15 KV heads cannot" in found(odd, "mixed-tp").why_not


def test_a_quantised_model_is_not_divided_among_both_kinds() -> None:
    assert "unquantised" in found(model(quantised=True), "mixed-tp").why_not


def test_a_mixed_group_is_planned_explained_and_refused_with_its_number() -> None:
    request = PlanRequest(strategy="mixed-tp", gpu_memory_bytes=12 * GIB)
    plan = make_plan(machine(), model(), LOAD, request)
    assert (plan.strategy, plan.tensor_parallel_size, plan.split) == ("mixed-tp", 2, (32,))
    assert "each layer is divided among cuda:0 + cpu (node 0)" in plan.explanation[0]
    assert all(rank.used_bytes <= rank.memory_limit_bytes for rank in plan.ranks)
    assert [rank.cuda_graph_bytes for rank in plan.ranks] == [0, 0]
    small = PlanRequest(strategy="mixed-tp", gpu_memory_bytes=6 * GIB)
    with pytest.raises(DoesNotFitError, match=r"it needs .* and cuda:0 can give 5\.4 GiB"):
        make_plan(machine(), model(), LOAD, small)


def test_two_numa_nodes_read_the_weights_together() -> None:
    plan = make_plan(machine(gpus=0, nodes=2), model(), LOAD)
    assert (plan.strategy, plan.tensor_parallel_size) == ("cpu-tp", 2)
    alone = next(entry for entry in plan.ranking if entry.name == "one CPU rank")
    assert alone.prediction is not None
    assert 1.3 < alone.prediction.tpot_s / plan.prediction.tpot_s < 2
