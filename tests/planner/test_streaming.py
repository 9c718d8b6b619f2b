"""Weights streamed from host memory: how many, and in which groups."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.errors import DoesNotFitError
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import PrefetchOffload, UvaOffload
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.cost import step_cost
from hetctl.planner.device import Device, gpu_device
from hetctl.planner.engine import Run
from hetctl.planner.inventory import take_inventory
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.stage_time import resident_time
from hetctl.planner.steps import Step
from hetctl.planner.streamed import with_prefetch, with_uva
from hetctl.planner.streamed_shares import Backend, share_memory, streamed_shares
from hetctl.planner.streaming import (
    MARGIN_BYTES,
    prefetch_bytes,
    prefetch_groups,
    streamed_time,
    uva_bytes,
)
from hetctl.planner.tensor_parallel import all_reduce_of
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import figure, gpu, machine, model, node

HOST = 128 * GIB
LOAD = Workload(max_model_len=2048)


def device(gib: float, **changes: object) -> Device:
    return gpu_device(gpu(gib=gib, **changes), PlanRequest(), "bfloat16")


def layers_of(sizes: list[int]) -> tuple[LayerSpec, ...]:
    return tuple(
        LayerSpec(
            weight_bytes=size, decode_weight_bytes=size, flops_per_token=size, kv_bytes_per_token=64
        )
        for size in sizes
    )


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 60))
def test_groups_are_those_of_every_size_that_just_suffice(sizes: list[int], relief: int) -> None:
    layers = layers_of(sizes)

    def freed(offload: PrefetchOffload) -> int:
        streamed, buffer = prefetch_bytes(layers, offload)
        return streamed - buffer

    expected = set()
    for size in range(1, len(sizes) + 1):
        enough = (
            PrefetchOffload(group_size=size, num_in_group=count)
            for count in range(1, size + 1)
            if freed(PrefetchOffload(group_size=size, num_in_group=count)) >= relief
        )
        expected.update([o for o in [next(enough, None)] if o is not None])
    found = prefetch_groups(layers, relief)
    assert {offload for _, offload in found} == expected
    assert [streamed for streamed, _ in found] == sorted(
        prefetch_bytes(layers, offload)[0] for offload in expected
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([GIB // 4, GIB // 2, GIB]), min_size=2, max_size=9),
    st.integers(5, 12),
    st.integers(1, 64),
)
def test_no_grouping_beats_the_chosen_one(sizes: list[int], gib: int, concurrency: int) -> None:
    spec = model(layers=layers_of(sizes), vocab_size=32000, embedding_bytes=1, head_bytes=1)
    load = Workload(max_model_len=1024, concurrency=concurrency)
    one = device(gib)
    placer = Placer(spec, load, 1024)
    memory = placer.memory([one])
    if memory.needed(one, 0, len(sizes)) + MARGIN_BYTES <= one.memory_limit_bytes:
        return  # nothing to stream
    best = min(
        (
            placement.objective_s
            for size, count in product(range(1, len(sizes) + 1), repeat=2)
            if count <= size
            for placement in [
                placer.place(
                    "prefetch",
                    [Run(one, 0, len(sizes))],
                    memory,
                    PrefetchOffload(group_size=size, num_in_group=count),
                )
            ]
            if placement.stages[0].needed(memory) + MARGIN_BYTES <= one.memory_limit_bytes
        ),
        default=None,
    )
    found = with_prefetch(placer, [one], HOST)
    assert (found is None) == (best is None)
    if found is not None:
        assert found.objective_s == pytest.approx(best)


def test_uva_keeps_as_little_in_host_memory_as_there_must_be() -> None:
    one = device(12)
    placer = Placer(model(), LOAD, 2048)
    found = with_uva(placer, [one], HOST)
    assert found is not None
    assert isinstance(found.offload, UvaOffload)
    needed = found.stages[0].needed(found.memory)
    spare = one.memory_limit_bytes - MARGIN_BYTES - needed
    assert 0 <= spare < GIB // 4  # the budget's steps
    assert found.stages[0].host_bytes == uva_bytes(model().layers, found.offload)


def test_streaming_needs_host_memory() -> None:
    placer = Placer(model(), LOAD, 2048)
    assert with_uva(placer, [device(12)], 4 * GIB) is None
    assert with_prefetch(placer, [device(12)], 4 * GIB) is None


def test_what_cannot_be_streamed_must_fit() -> None:
    """KV cache and activations stay on the GPU."""
    spec = model(kv_heads=8)
    load = Workload(max_model_len=2048, concurrency=64)
    assert with_uva(Placer(spec, load, 2048), [device(12)], HOST) is None


def test_several_gpus_stream_alike() -> None:
    gpus = [device(24, index=i) for i in range(2)]
    spec = model(80, 1_711_276_032)
    found = with_prefetch(Placer(spec, LOAD, 2048), gpus, HOST * 2)
    assert found is not None
    assert found.split == (40, 40)
    assert all(s.needed(found.memory) <= s.device.memory_limit_bytes for s in found.stages)


def copies(offload: PrefetchOffload, step: Step) -> float:
    """What streaming adds to the step of a model whose copies take long."""
    slow = device(12, host_to_device_bytes_per_s=gpu().host_to_device_bytes_per_s)
    spec = model()
    cost = step_cost(spec, slow.rates, step)
    added = streamed_time(cost, spec.layers, slow.rates, 0, 32, offload).stream_s
    assert added >= 0
    return added


def test_copies_hide_behind_the_layers_between_them() -> None:
    spread = PrefetchOffload(group_size=4, num_in_group=1)
    packed = PrefetchOffload(group_size=32, num_in_group=8)
    assert copies(spread, Step(8, 200)) < copies(packed, Step(8, 200))


def test_mixed_steps_in_pieces_of_graphs_hide_nothing() -> None:
    spread = PrefetchOffload(group_size=4, num_in_group=1)
    copy = 8 * model().layers[0].weight_bytes / 50e9
    assert copies(spread, Step(8, 200, 128, 64)) == pytest.approx(copy)
    assert copies(spread, Step(8, 200, 2048, 1024)) < copy


def test_experts_that_no_token_chose_are_not_read_over_the_link_but_are_copied() -> None:
    layer = (
        model()
        .layers[0]
        .model_copy(
            update={"decode_weight_bytes": 100_000_000, "experts": 16, "experts_per_token": 2}
        )
    )
    spec = model(layers=(layer,) * 32)
    one = device(12)
    cost = step_cost(spec, one.rates, Step(1, 200))
    everything = UvaOffload(gib_per_gpu=100)
    read = streamed_time(cost, spec.layers, one.rates, 0, 32, everything).stream_s
    all_groups = PrefetchOffload(group_size=1, num_in_group=1)
    copied = streamed_time(cost, spec.layers, one.rates, 0, 32, all_groups).stream_s
    assert read < copied / 3


def test_a_gpu_that_holds_all_streams_nothing() -> None:
    spec: ModelSpec = model()
    cost = step_cost(spec, device(80).rates, Step(1, 200))
    assert resident_time(cost, 0, 32).stream_s == 0
    plan = make_plan(machine(), spec, LOAD)
    assert not {"uva", "prefetch"} & {entry.strategy for entry in plan.ranking}


def test_a_fast_link_makes_streaming_the_choice_and_a_slow_one_the_cpu() -> None:
    def chosen(link: float) -> str:
        card = gpu(gib=12, host_to_device_bytes_per_s={"value": link, "source": "measured"})
        return make_plan(machine(gpus=[card]), model(), LOAD).strategy

    assert chosen(300e9) == "prefetch"
    assert chosen(12e9) == "pipeline"


def test_the_plan_of_a_stream_says_what_stays_where() -> None:
    plan = make_plan(
        machine(), model(), LOAD, PlanRequest(gpu_memory_bytes=12 * GIB, strategy="prefetch")
    )
    (rank,) = plan.ranks
    assert isinstance(plan.offload, PrefetchOffload)
    streamed = [plan.offload.offloads(i) for i in range(32)].count(True)
    assert rank.host_weight_bytes == streamed * model().layers[0].weight_bytes
    assert rank.used_bytes <= rank.memory_limit_bytes
    assert rank.decode_parts.stream_s > rank.decode_step_s / 2
    assert rank.decode_parts.total_s == pytest.approx(rank.decode_step_s)
    assert any("Streaming" in sentence for sentence in plan.explanation)


def shared(
    gib: int = 24, gpus: int = 2, read: float = 400e9, backend: Backend = "prefetch", **load: int
) -> Placement:
    """A 70B model divided among GPUs that cannot hold it."""
    where = machine(gpus=gpus, nodes=[node(gib=400, memory_read_bytes_per_s=figure(read))])
    spec = model(80, 1_711_276_032)
    inventory = take_inventory(where, spec, PlanRequest(gpu_memory_bytes=gib * GIB))
    placer = Placer(spec, Workload(max_model_len=2048, **load), 2048)
    found = streamed_shares(placer, inventory.gpus, inventory.host_bytes, backend)
    assert found is not None
    return found


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
def test_gpus_that_divide_layers_stream_at_once_and_those_in_a_pipeline_in_turn(
    backend: Backend,
) -> None:
    together = shared(backend=backend)
    assert together.strategy == f"{backend}-tp"
    solve = {"uva": with_uva, "prefetch": with_prefetch}[backend]
    gpus = [device(24, index=i) for i in range(2)]
    in_turn = solve(Placer(model(80, 1_711_276_032), LOAD, 2048), gpus, 400 * GIB)
    assert in_turn is not None
    waits = [sum(s.decode.stream_s for s in one.stages) for one in (together, in_turn)]
    # Both GPUs of a group wait at the same time.
    assert waits[0] / 2 == pytest.approx(waits[1] / 2, rel=0.1)
    assert together.decode_s < 0.6 * in_turn.decode_s


def test_links_of_a_group_add_up_only_as_far_as_memory_is_read() -> None:
    stream = [shared(read=read).stages[0].decode.stream_s for read in (400e9, 100e9, 50e9)]
    assert stream[0] == pytest.approx(stream[1], rel=0.01)
    assert stream[2] == pytest.approx(2 * stream[0], rel=0.05)


def test_each_gpu_of_a_group_holds_and_streams_a_share() -> None:
    found = shared()
    first, second = found.stages
    share = found.memory.spec.layers[0].weight_bytes
    assert share == pytest.approx(1_711_276_032 / 2, rel=0.01)
    assert isinstance(found.offload, PrefetchOffload)
    streamed = [found.offload.offloads(i) for i in range(80)].count(True)
    assert first.host_bytes == second.host_bytes == streamed * share
    spare = first.device.memory_limit_bytes - first.needed(found.memory)
    assert MARGIN_BYTES <= spare < MARGIN_BYTES + 2 * share


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([GIB // 2, GIB, 2 * GIB]), min_size=2, max_size=7),
    st.integers(5, 12),
    st.sampled_from([1, 8, 64]),
)
def test_no_grouping_of_shares_beats_the_chosen_one(
    sizes: list[int], gib: int, concurrency: int
) -> None:
    spec = model(layers=layers_of(sizes), vocab_size=32000, embedding_bytes=1, head_bytes=1)
    gpus = take_inventory(machine([gpu(i, gib=gib) for i in range(2)]), spec, PlanRequest()).gpus
    placer = Placer(spec, Workload(max_model_len=1024, concurrency=concurrency), 1024)
    memory = share_memory(placer, gpus)
    relief = memory.needed(gpus[0], 0, len(sizes)) + MARGIN_BYTES - gpus[0].memory_limit_bytes
    if relief <= 0:
        return
    cost = placer.share_cost(memory, all_reduce_of(gpus))
    offloads = (
        PrefetchOffload(group_size=size, num_in_group=count)
        for size, count in product(range(1, len(sizes) + 1), repeat=2)
        if count <= size
    )
    placements = (placer.place_shares("prefetch-tp", gpus, memory, cost, one) for one in offloads)
    best = min(
        (
            placement.objective_s
            for placement in placements
            if placement.stages[0].needed(memory) + MARGIN_BYTES <= gpus[0].memory_limit_bytes
        ),
        default=None,
    )
    found = streamed_shares(placer, gpus, HOST, "prefetch")
    assert (found is None) == (best is None)
    if found is not None:
        assert found.objective_s == pytest.approx(best)


def test_the_plan_of_a_group_that_streams_says_so() -> None:
    where = machine(gpus=2, nodes=[node(gib=400)])
    request = PlanRequest(gpu_memory_bytes=24 * GIB, strategy="prefetch-tp")
    plan = make_plan(where, model(80, 1_711_276_032), LOAD, request)
    assert (plan.tensor_parallel_size, plan.split) == (2, (80,))
    assert all(rank.host_weight_bytes > 0 for rank in plan.ranks)
    assert "each layer is divided among cuda:0,1, and " in plan.explanation[0]
    assert "just ahead of their use" in plan.explanation[0]
    assert any("of weights from host memory to each GPU" in text for text in plan.explanation)


def test_what_does_not_divide_or_fit_is_refused_with_its_number() -> None:
    where = machine(gpus=2, nodes=[node(gib=400)])
    odd = model(attention_heads=15, kv_heads=15)
    for spec, gib, why in (
        (odd, 6, "15 attention heads and 15 KV heads cannot be divided among 2"),
        (model(80, 1_711_276_032), 3, "what else must be on cuda:0 take|cannot hold the rest"),
    ):
        request = PlanRequest(gpu_memory_bytes=gib * GIB, strategy="uva-tp")
        with pytest.raises(DoesNotFitError, match=why):
            make_plan(where, spec, LOAD, request)
    with pytest.raises(DoesNotFitError, match="it needs two GPUs"):
        make_plan(machine(), model(), LOAD, PlanRequest(strategy="uva-tp"))
