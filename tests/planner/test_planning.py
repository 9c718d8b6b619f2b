"""Plans: what is chosen, what is refused, and that the chosen is the best there is."""

from itertools import combinations
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.errors import DoesNotFitError, UsageError
from hetctl.machine import Machine
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.inventory import take_inventory
from hetctl.planner.pipeline import assigned
from hetctl.planner.placement import Placer
from hetctl.planner.strategy import candidates
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import figure, gpu, machine, model, node

LOAD = Workload()


def plan_of(machine: Machine, spec: ModelSpec | None = None, **request: object) -> Plan:
    return make_plan(machine, spec or model(), LOAD, PlanRequest(**request))  # type: ignore[arg-type]


def test_a_model_that_fits_runs_on_the_gpu_alone() -> None:
    plan = plan_of(machine(gpus=1))
    assert (plan.strategy, plan.split, plan.devices) == ("gpu", (32,), ("cuda:0",))
    assert "fits cuda:0" in plan.explanation[0]
    assert "faster than" in plan.explanation[0]


def test_what_the_gpu_cannot_hold_goes_to_the_cpu_and_no_more() -> None:
    plan = plan_of(machine(gpus=1), gpu_memory_bytes=12 * GIB)
    assert plan.strategy == "pipeline"
    on_gpu = next(rank for rank in plan.ranks if rank.device == "cuda:0")
    # One more layer would not fit: layers are 416 MiB and their KV cache 64 MiB.
    assert on_gpu.memory_limit_bytes - on_gpu.used_bytes < 480 * 2**20
    assert "does not fit cuda:0 (it needs 18" in plan.explanation[0]
    assert any("of weights on the CPU takes" in sentence for sentence in plan.explanation)


def test_a_pipeline_over_numa_nodes_takes_one_where_it_is_enough() -> None:
    plan = plan_of(machine(gpus=0, nodes=2), strategy="cpu")
    assert (plan.strategy, plan.devices) == ("cpu", ("cpu",))


def test_numa_nodes_share_what_one_cannot_hold() -> None:
    nodes = [node(0, gib=16), node(1, gib=16)]
    plan = plan_of(machine(gpus=0, nodes=nodes), strategy="cpu")
    assert [rank.numa_node for rank in plan.ranks] == [0, 1]


def test_like_gpus_are_filled_evenly() -> None:
    plan = plan_of(machine(gpus=[gpu(0, gib=16), gpu(1, gib=16)], nodes=0), strategy="gpu")
    assert plan.split == (16, 16)


def test_no_rank_exceeds_its_limit_and_all_layers_are_placed_once() -> None:
    for gpus, nodes, memory in [(1, 1, 12), (2, 2, 6), (1, 2, 4), (2, 1, 24)]:
        plan = plan_of(machine(gpus, nodes), gpu_memory_bytes=memory * GIB)
        assert all(rank.used_bytes <= rank.memory_limit_bytes for rank in plan.ranks)
        stages = plan.ranks[:: plan.tensor_parallel_size]
        ends = [0, *(rank.layers[1] for rank in stages)]
        assert [rank.layers[0] for rank in stages] == ends[:-1]
        assert ends[-1] == 32


@pytest.mark.parametrize("layers_first", [True, False])
def test_devices_are_used_in_the_order_given(layers_first: bool) -> None:
    order = ("cpu", "cuda:0") if layers_first else ("cuda:0", "cpu")
    plan = plan_of(machine(), devices=order, gpu_memory_bytes=12 * GIB)
    assert plan.devices == order


def test_cpu_layers_come_first_where_the_gpu_is_the_faster_place_for_the_head() -> None:
    plan = plan_of(machine(), gpu_memory_bytes=12 * GIB)
    assert plan.devices == ("cpu", "cuda:0")


def test_eighty_layers_are_divided_among_twelve_unlike_devices() -> None:
    gpus = [gpu(i, memory_free_bytes=21 * GIB - i * GIB // 64) for i in range(8)]
    nodes = [node(i, memory_free_bytes=(240 - i) * GIB) for i in range(4)]
    where, spec = machine(gpus, nodes), model(80, 1_711_276_032)
    plan = plan_of(where, spec)
    assert sum(plan.split) == 80
    assert all(rank.used_bytes <= rank.memory_limit_bytes for rank in plan.ranks)


def test_sockets_that_compute_at_the_same_time_get_stages_that_take_as_long() -> None:
    """One batch at a time would go to the faster one, as far as it has memory."""
    nodes = [node(0, gib=40), node(1, gib=40, matmul_bf16_flops=figure(2e12))]
    load = Workload(concurrency=32, input_len=512, output_len=32, max_model_len=544)
    request = PlanRequest(strategy="cpu", cpu_ranks=2)
    plan = make_plan(machine(gpus=0, nodes=nodes), model(), load, request)
    fast, slow = sorted(plan.ranks, key=lambda rank: -rank.num_layers)
    assert (fast.numa_node, slow.numa_node) == (0, 1)
    assert 20 <= fast.num_layers <= 23
    assert fast.prefill_s == pytest.approx(slow.prefill_s, rel=0.15)
    assert any("divided into 2 batches" in sentence for sentence in plan.explanation)
    alone = make_plan(machine(gpus=0, nodes=nodes[:1]), model(), load)
    ahead = plan.prediction.output_tokens_per_s / alone.prediction.output_tokens_per_s
    assert 1.3 < ahead < 1.5


def test_gpus_in_a_pipeline_gain_by_prompts_and_not_by_decoding() -> None:
    """vLLM keeps requests that decode in one batch."""
    where = machine(gpus=[gpu(0, gib=48), gpu(1, gib=48)], nodes=0)

    def gain(prompt: int, answer: int) -> float:
        load = Workload(concurrency=16, input_len=prompt, output_len=answer, max_model_len=4096)
        ranking = make_plan(where, model(), load).ranking
        rate = {e.name: e.prediction.output_tokens_per_s for e in ranking if e.prediction}
        return rate["GPUs in a pipeline"] / rate["one GPU"]

    assert 1.5 < gain(3000, 8) < 2
    assert 0.9 < gain(16, 1000) < 1.05


def test_a_given_split_is_kept_and_compared() -> None:
    plan = plan_of(machine(), split=(8, 24))
    assert plan.split == (8, 24)
    assert "asked for; cuda:0 alone would be" in plan.explanation[0]
    assert any(a.feasible and a.devices == ("cuda:0",) for a in plan.ranking)
    assert [a.split for a in plan.ranking if a.chosen] == [(8, 24)]


def test_a_given_split_needs_no_more_devices_than_stages() -> None:
    assert plan_of(machine(gpus=2, nodes=2), split=(32,)).devices == ("cuda:0",)


def test_no_split_prefers_the_gpu_and_falls_back_to_the_cpu() -> None:
    assert plan_of(machine(), split="none").devices == ("cuda:0",)
    plan = plan_of(machine(), split="none", gpu_memory_bytes=12 * GIB)
    assert plan.devices == ("cpu",)


def test_cpu_ranks_on_one_node_split_its_cores() -> None:
    plan = plan_of(machine(gpus=0), split=(16, 16))
    first, second = (set(rank.cpus) for rank in plan.ranks)
    assert len(first) == len(second) == 7  # of 16, one is the engine's and one remains
    assert not first & second
    limits = {rank.memory_limit_bytes for rank in plan.ranks}
    assert limits == {63 * GIB}  # half of 128 GiB less the reserve


def test_cpu_ranks_that_are_asked_for_are_all_used() -> None:
    plan = plan_of(machine(gpus=1), cpu_ranks=2)
    assert plan.devices.count("cpu") == 2
    assert "As asked for" in plan.explanation[0]
    assert plan_of(machine(), cpu_ranks=0, gpu_memory_bytes=20 * GIB).devices == ("cuda:0",)


def test_threads_take_one_sibling_of_each_core_and_leave_a_core() -> None:
    assert plan_of(machine(gpus=0)).ranks[0].cpus == tuple(range(1, 16))
    two = machine(gpus=0, nodes=[node(0, cores=2)])
    assert plan_of(two).ranks[0].cpus == (0, 1)


def test_threads_stay_within_the_cgroups_cpu_quota() -> None:
    assert len(plan_of(machine(gpus=0, cpu_quota=4.0)).ranks[0].cpus) == 4


def test_block_size_is_the_cpus_as_soon_as_one_takes_part() -> None:
    assert plan_of(machine()).block_size == 16
    assert plan_of(machine(), split=(16, 16)).block_size == 128


def test_the_smallest_cache_decides_how_many_tokens_there_are() -> None:
    plan = plan_of(machine(gpus=[gpu(0, gib=24), gpu(1, gib=48)], nodes=0), split=(16, 16))
    per_token = 16 * 4096
    for rank in plan.ranks:
        assert rank.kv_cache_bytes == pytest.approx(plan.kv_cache_tokens * per_token, rel=1e-3)
    assert plan.kv_cache_tokens >= LOAD.concurrency * plan.max_model_len


def test_a_tied_embedding_is_on_the_first_and_the_last_stage() -> None:
    size = 2 * 128256 * 4096
    tied = model(tied_embeddings=True, tied_bytes=size)
    two = plan_of(machine(), tied, split=(16, 16))
    one = plan_of(machine(), tied)
    assert sum(rank.weight_bytes for rank in two.ranks) == one.ranks[0].weight_bytes + size


def test_a_cpu_rank_holds_a_tied_head_twice_where_it_embeds_too() -> None:
    size = 2 * 128256 * 4096
    tied = model(tied_embeddings=True, tied_bytes=size)
    nodes = machine(gpus=[], nodes=2)
    one = plan_of(nodes, tied, cpu_ranks=1)
    two = plan_of(nodes, tied, split=(16, 16))
    # Alone: to look tokens up in, and as its kernel reads it. On two ranks each has one of these.
    assert one.ranks[0].weight_bytes == tied.weight_bytes + size
    assert sum(rank.weight_bytes for rank in two.ranks) == tied.weight_bytes + size
    assert plan_of(machine(), tied).ranks[0].weight_bytes == tied.weight_bytes
    untied = model()
    assert plan_of(nodes, untied, cpu_ranks=1).ranks[0].weight_bytes == untied.weight_bytes


def test_embeddings_that_vllm_builds_everywhere_are_counted_everywhere() -> None:
    spec = model(embeddings_on_every_stage=True)
    two = plan_of(machine(), spec, split=(16, 16))
    one = plan_of(machine(), spec)
    extra = spec.embedding_bytes + spec.head_bytes
    assert sum(rank.weight_bytes for rank in two.ranks) == one.ranks[0].weight_bytes + extra


def test_the_context_is_shortened_to_fit_and_said() -> None:
    plan = plan_of(machine())
    assert LOAD.input_len + LOAD.output_len < plan.max_model_len < 131072
    assert any(f"{plan.max_model_len:,} of the model's 131,072" in s for s in plan.explanation)


def test_the_models_own_context_is_served_where_it_fits() -> None:
    plan = plan_of(machine(gpus=[gpu(gib=80)]), model(max_model_len=4096))
    assert plan.max_model_len == 4096
    assert not any("context" in sentence for sentence in plan.explanation)


def test_a_given_context_is_served_or_refused() -> None:
    load = Workload(max_model_len=3000)
    assert make_plan(machine(), model(), load).max_model_len == 3000
    with pytest.raises(DoesNotFitError, match=r"--max-model-len \d+ would fit"):
        make_plan(machine(nodes=0), model(), Workload(max_model_len=32768))


def test_a_sliding_window_needs_less_cache() -> None:
    window = model().layers[0].model_copy(update={"sliding_window": 128})
    load = Workload(max_model_len=16384)
    full = make_plan(machine(nodes=0, gpus=[gpu(gib=60)]), model(), load)
    short = make_plan(machine(nodes=0, gpus=[gpu(gib=60)]), model(layers=(window,) * 32), load)
    assert short.kv_cache_tokens > 2 * full.kv_cache_tokens


def test_more_requests_touch_more_experts() -> None:
    layer = LayerSpec(
        weight_bytes=200_000_000,
        decode_weight_bytes=50_000_000,
        flops_per_token=50_000_000,
        kv_bytes_per_token=4096,
        experts=8,
        experts_per_token=2,
    )
    spec = model(layers=(layer,) * 32)
    times = [
        make_plan(machine(), spec, Workload(concurrency=n)).ranks[0].decode_step_s
        for n in (1, 2, 32)
    ]
    assert times[0] < times[1] < times[2]
    assert times[2] < 4.5 * times[0]


def test_throughput_and_latency_agree() -> None:
    load = Workload(concurrency=4)
    plan = make_plan(machine(), model(), load)
    found = plan.prediction
    # A request of O tokens ends O - 1 times TPOT after its first token.
    per_request = found.ttft_s + (load.output_len - 1) * found.tpot_s
    assert found.output_tokens_per_s == pytest.approx(4 * load.output_len / per_request)


def test_every_strategy_is_ranked_the_best_first_and_the_infeasible_last() -> None:
    plan = plan_of(machine(gpus=2, nodes=2), gpu_memory_bytes=6 * GIB)
    assert {entry.name for entry in plan.ranking} == {
        "one GPU",
        "GPUs in a pipeline",
        "GPUs in tensor parallel",
        "GPU with UVA weights",
        "GPU with prefetched layers",
        "GPUs in tensor parallel, UVA weights",
        "GPUs in tensor parallel, prefetching",
        "GPU and CPU",
        "GPU and CPU, UVA weights",
        "GPU and CPU, prefetching",
        "GPU and CPU in tensor parallel",
        "one CPU rank",
        "CPU ranks in a pipeline",
        "CPU ranks in tensor parallel",
    }
    speeds = [e.prediction.output_tokens_per_s for e in plan.ranking if e.prediction]
    assert speeds == sorted(speeds, reverse=True)
    feasible = [entry.feasible for entry in plan.ranking]
    assert feasible == sorted(feasible, reverse=True)
    assert all((e.prediction is not None) == e.feasible == bool(e.ranks) for e in plan.ranking)
    assert [entry.chosen for entry in plan.ranking].count(True) == 1
    assert all(" can give " in e.verdict for e in plan.ranking if not e.feasible)


def test_what_would_change_the_choice_is_looked_for_on_few_devices_only() -> None:
    few = make_plan(machine(), model(), LOAD, explore=True)
    many = make_plan(machine(gpus=4, nodes=2), model(), LOAD, explore=True)
    assert few.crossovers
    assert not many.crossovers


def test_a_plan_survives_its_json() -> None:
    plan = plan_of(machine(), split=(8, 24))
    assert Plan.parse(plan.to_json(), "test") == plan


def test_nothing_fits_says_what_each_device_has() -> None:
    small = machine(gpus=[gpu(gib=4)], nodes=[node(gib=8)])
    with pytest.raises(DoesNotFitError) as caught:
        plan_of(small)
    text = str(caught.value)
    assert "15.0 GiB for weights" in text
    assert "cuda:0 can give 3.6 GiB" in text
    assert "cpu (node 0) can give 6.0 GiB" in text


def test_a_given_split_that_does_not_fit_names_the_rank() -> None:
    with pytest.raises(DoesNotFitError, match=r"cuda:0 would need .* layers 0 to 29"):
        plan_of(machine(), split=(30, 2), devices=("cuda:0", "cpu"), gpu_memory_bytes=8 * GIB)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"split": (8, 25)}, "places 33 layers, but test-8b has 32"),
        ({"split": (8, 8, 16)}, r"3 stages, more than the 2 devices .* --cpu-ranks 2"),
        ({"split": (16, 16), "cpu_ranks": 0}, "2 stages, more than the 1 device that"),
        ({"split": (32,), "cpu_ranks": 2}, "fewer than the 2 CPU ranks"),
        ({"split": "none", "cpu_ranks": 2}, "2 CPU ranks are asked for"),
        ({"devices": ("cuda:3",)}, "cuda:3, but this machine has cuda:0"),
        ({"devices": ("cuda:0",), "cpu_ranks": 1}, "contradicts --devices"),
        ({"devices": ("cpu", "cpu"), "cpu_ranks": 1}, "names cpu 2 times"),
        ({"cpu_ranks": 33}, "33 CPU ranks are more than the 32 layers"),
        ({"gpu_memory_bytes": 99 * GIB}, "99.0 GiB is more than the GPUs have"),
        ({"devices": ("cpu",), "cpu_ranks": 0}, "no device to run on"),
    ],
)
def test_impossible_requests_are_one_sentence(request_: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_of(machine(), **request_)


def test_ranks_that_outnumber_the_cores_take_turns_on_them() -> None:
    plan = plan_of(machine(gpus=[]), cpu_ranks=17)
    cpus = [rank.cpus for rank in plan.ranks]
    assert all(len(own) == 1 for own in cpus)
    assert len(set(cpus)) == 15
    assert cpus[15:] == cpus[:2]


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (Workload(max_model_len=200_000), "200000 is more than the 131072 tokens"),
        (Workload(max_model_len=600), "512 [+] 128 tokens do not fit in --max-model-len 600"),
        (Workload(input_len=131072), "do not fit in the 131072 tokens of test-8b"),
    ],
)
def test_impossible_loads_are_one_sentence(load: Workload, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(machine(), model(), load)


@pytest.mark.parametrize(
    "field", ["memory_read_bytes_per_s", "matmul_bf16_flops", "host_to_device_bytes_per_s"]
)
def test_a_missing_gpu_rate_is_named(field: str) -> None:
    with pytest.raises(UsageError, match=f"gpus.0.{field}"):
        plan_of(machine(gpus=[gpu(**{field: None})]))


def test_a_missing_cpu_rate_is_named_where_the_cpu_may_be_used() -> None:
    blind = machine(nodes=[node(matmul_bf16_flops=None)])
    with pytest.raises(UsageError, match=r"numa_nodes\.0\.matmul_bf16_flops"):
        plan_of(blind)
    assert plan_of(blind, devices=("cuda:0",)).devices == ("cuda:0",)


def test_a_gpu_too_old_for_bfloat16_is_refused_with_the_remedy() -> None:
    old = machine(gpus=[gpu(compute_capability=(7, 5))])
    with pytest.raises(UsageError, match="--dtype float16"):
        plan_of(old)
    assert plan_of(old, model(dtype="float16")).strategy == "gpu"


@st.composite
def small_problems(draw: st.DrawFn) -> tuple[Machine, ModelSpec]:
    """Unlike layers (experts, windows, sizes) on machines of up to 2 + 2 devices."""
    kinds = [
        LayerSpec(
            weight_bytes=draw(st.integers(1, 4)) * GIB // 2,
            decode_weight_bytes=GIB // 4,
            flops_per_token=draw(st.integers(1, 8)) * 10**8,
            kv_bytes_per_token=draw(st.sampled_from([1, 2, 4, 8])) * 4096,
            sliding_window=draw(st.sampled_from([None, 128])),
            experts=draw(st.sampled_from([0, 8])),
            experts_per_token=2,
        )
        for _ in range(2)
    ]
    layers = tuple(draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)))
    spec = model(
        layers=layers,
        vocab_size=32000,
        embeddings_on_every_stage=draw(st.booleans()),
        embedding_bytes=GIB // 2,
        head_bytes=GIB // 2,
    )
    gpus = [
        gpu(i, gib=draw(st.integers(3, 10)), read=draw(st.sampled_from([1e12, 2e12])))
        for i in range(draw(st.integers(0, 2)))
    ]
    fewest = 0 if gpus else 1
    nodes = [
        node(i, gib=draw(st.integers(4, 12)), cores=draw(st.integers(1, 4)))
        for i in range(draw(st.integers(fewest, 2)))
    ]
    return machine(gpus, nodes), spec


@settings(max_examples=60, deadline=None)
@given(small_problems())
def test_no_split_of_any_devices_beats_the_pipelines(problem: tuple[Machine, ModelSpec]) -> None:
    where, spec = problem
    load = Workload(input_len=64, output_len=32, max_model_len=512)
    inventory = take_inventory(where, spec, PlanRequest())
    layers = len(spec.layers)
    best = None
    # The search itself: one batch in flight, and chunks that do not depend on the split.
    placer = Placer(spec, load, 512, stall_s=inf, overlap=False)
    for order in inventory.orders:
        for used in range(1, len(order) + 1):
            for devices in combinations(order, used):
                for cuts in combinations(range(1, layers), used - 1):
                    bounds = (0, *cuts, layers)
                    split = [bounds[i + 1] - bounds[i] for i in range(used)]
                    found = assigned(placer, devices, split)
                    if found and (best is None or found.objective_s < best):
                        best = found.objective_s
    pipelines = [
        candidate.placement.objective_s
        for candidate in candidates(inventory, placer)
        if candidate.placement and candidate.strategy in ("gpu", "pipeline", "cpu")
    ]
    windows = any(layer.sliding_window for layer in spec.layers)
    if not pipelines:
        # Windows keep what is in flight on all stages that there could be, so the few may fit
        # what the plan, made for more, does not claim.
        assert best is None or windows
        return
    assert best is not None
    if windows:
        assert min(pipelines) >= best * (1 - 1e-9)
    else:
        assert min(pipelines) == pytest.approx(best)


@settings(max_examples=30, deadline=None)
@given(small_problems())
def test_both_device_orders_are_considered(problem: tuple[Machine, ModelSpec]) -> None:
    where, spec = problem
    load = Workload(input_len=64, output_len=32, max_model_len=512)
    try:
        best = make_plan(where, spec, load)
    except DoesNotFitError:
        return
    names = [f"cuda:{g.index}" for g in where.gpus] + ["cpu"] * bool(where.numa_nodes)
    for order in (names, names[-1:] + names[:-1]):
        try:
            other = make_plan(where, spec, load, PlanRequest(devices=tuple(order)))
        except DoesNotFitError:
            continue
        rate = other.prediction.output_tokens_per_s
        assert rate <= best.prediction.output_tokens_per_s * (1 + 1e-9)


def test_a_cache_that_cpu_ranks_cannot_hold_keeps_them_out() -> None:
    spec = model(kv_cache_dtype="fp8")
    plain = machine(gpus=1)
    plan = plan_of(plain, spec, gpu_memory_bytes=8 * GIB)
    assert plan.devices == ("cuda:0",)
    assert plan.kv_cache_dtype == "fp8"
    assert any("CPU ranks are left out" in sentence for sentence in plan.explanation)
    with pytest.raises(UsageError, match=r"needs a CPU with AVX-512; leave the CPU out"):
        plan_of(plain, spec, cpu_ranks=1)
    able = machine(gpus=1, isa=("avx512f",))
    assert "cpu" in plan_of(able, spec, gpu_memory_bytes=8 * GIB, cpu_ranks=1).devices


@pytest.mark.parametrize(
    ("cpu", "why"),
    [
        ({"architecture": "aarch64", "isa": ("asimd", "sve2")}, "the CPU is aarch64"),
        ({"isa": ()}, "the CPU has no AVX2"),
    ],
)
def test_a_cpu_that_vllms_kernels_do_not_run_on_gets_no_rank(
    cpu: dict[str, object], why: str
) -> None:
    other = machine(gpus=1, **cpu)
    plan = plan_of(other, gpu_memory_bytes=12 * GIB)
    assert plan.devices == ("cuda:0",)
    assert {entry.strategy for entry in plan.ranking} == {"gpu", "uva", "prefetch"}
    assert any(f"CPU ranks are left out: {why}" in sentence for sentence in plan.explanation)
    with pytest.raises(UsageError, match=f"{why}.*leave the CPU out"):
        plan_of(other, cpu_ranks=1)
    with pytest.raises(UsageError, match=f"{why}.*a GPU is needed"):
        plan_of(machine(gpus=0, **cpu))


def test_of_strategies_that_are_as_good_the_one_of_fewest_ranks_is_chosen() -> None:
    where = machine(gpus=[gpu(gib=13, host_to_device_bytes_per_s=figure(80e9))])
    slower = 0
    for concurrency in range(4, 29, 4):
        load = Workload(concurrency=concurrency, max_model_len=2048)
        plan = make_plan(where, model(), load)
        best, *others = [e for e in plan.ranking if e.prediction]
        assert best.prediction
        as_good = [
            e
            for e in (best, *others)
            if e.prediction
            and best.prediction.output_tokens_per_s < 1.03 * e.prediction.output_tokens_per_s
        ]
        assert len(plan.ranks) == min(len(e.ranks) for e in as_good)
        assert any(e.chosen for e in as_good)
        if not best.chosen:
            slower += 1
            assert "would be about as fast" in plan.explanation[0]
    assert 0 < slower < 7


def test_pages_that_only_gpus_can_pad_keep_cpu_ranks_out() -> None:
    whole = model().layers[0]
    odd = whole.model_copy(update={"sliding_window": 128, "kv_bytes_per_token": 3072})
    spec = model(layers=(whole, odd) * 16)
    assert plan_of(machine(), spec, gpu_memory_bytes=12 * GIB).devices == ("cuda:0",)
    with pytest.raises(UsageError, match="not multiples of one another"):
        plan_of(machine(), spec, cpu_ranks=1)


def test_a_latent_cache_has_blocks_that_its_kernels_take() -> None:
    assert plan_of(machine(gpus=1, nodes=0), model(latent_cache=True)).block_size == 64


def test_a_model_that_cpu_ranks_cannot_run_stays_on_the_gpus() -> None:
    spec = model(cpu_refusal="is quantised as mxfp4, which CPU ranks cannot run")
    assert plan_of(machine(gpus=1), spec).devices == ("cuda:0",)
    with pytest.raises(UsageError, match=r"test-8b is quantised as mxfp4.*leave the CPU out"):
        plan_of(machine(gpus=1), spec, cpu_ranks=1)
    with pytest.raises(UsageError, match="leave the CPU out"):
        plan_of(machine(gpus=1), spec, devices=("cuda:0", "cpu"))
    with pytest.raises(UsageError, match=r"is quantised as mxfp4.*a GPU is needed"):
        plan_of(machine(gpus=0), spec)
    streamed = plan_of(machine(gpus=1), spec, gpu_memory_bytes=8 * GIB)
    assert (streamed.devices, streamed.strategy) == (("cuda:0",), "prefetch")
    with pytest.raises(DoesNotFitError, match="the CPU cannot help: test-8b is quantised"):
        plan_of(machine(gpus=1, nodes=[node(0, gib=4)]), spec, gpu_memory_bytes=8 * GIB)
