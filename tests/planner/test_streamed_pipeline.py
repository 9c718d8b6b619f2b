"""GPUs that stream some of their layers in a pipeline with CPU stages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetctl.errors import DoesNotFitError
from hetctl.machine import Machine
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.plan import Offload, PrefetchOffload, UvaOffload
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.cost import step_cost
from hetctl.planner.device import Device
from hetctl.planner.engine import Run
from hetctl.planner.inventory import Inventory, take_inventory
from hetctl.planner.memory import MemoryModel
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.steps import Step
from hetctl.planner.streamed import even_runs
from hetctl.planner.streamed_pipeline import STRATEGY_OF, Backend, streamed_pipeline
from hetctl.planner.streaming import (
    MARGIN_BYTES,
    UVA_STEP_GIB,
    prefetch_groups,
    streamed_bytes,
    waiting_s,
)
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import figure, gpu, machine, model, node

LOAD = Workload(max_model_len=2048)
HOST = 1000 * GIB


@dataclass
class Problem:
    machine: Machine
    spec: ModelSpec
    load: Workload

    @property
    def inventory(self) -> Inventory:
        return take_inventory(self.machine, self.spec, PlanRequest())

    @property
    def placer(self) -> Placer:
        """With one batch in flight, and chunks that do not depend on the split."""
        length = self.load.max_model_len or 0
        return Placer(self.spec, self.load, length, stall_s=inf, overlap=False)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Unlike layers on machines of up to 2 + 2 devices, with a link of any speed."""
    sizes = draw(st.lists(st.sampled_from([GIB // 4, GIB // 2, GIB]), min_size=2, max_size=6))
    layers = tuple(
        LayerSpec(
            weight_bytes=size,
            decode_weight_bytes=size,
            flops_per_token=size,
            kv_bytes_per_token=draw(st.sampled_from([1024, 16384])),
        )
        for size in sizes
    )
    spec = model(layers=layers, vocab_size=32000, embedding_bytes=GIB // 4, head_bytes=GIB // 4)
    link = figure(draw(st.sampled_from([6e9, 25e9, 55e9, 300e9])))
    gpus = [
        gpu(i, gib=draw(st.integers(3, 7)), host_to_device_bytes_per_s=link)
        for i in range(draw(st.integers(1, 2)))
    ]
    nodes = [
        node(i, gib=draw(st.integers(6, 24)), cores=draw(st.integers(2, 16)))
        for i in range(draw(st.integers(1, 2)))
    ]
    load = Workload(
        concurrency=draw(st.sampled_from([1, 2, 8, 64])),
        input_len=draw(st.sampled_from([16, 300, 2000])),
        output_len=draw(st.sampled_from([1, 16, 400])),
        max_model_len=2500,
    )
    return Problem(machine(gpus, nodes), spec, load)


def pipelines(order: Sequence[Device], layers: int) -> Iterator[tuple[list[Run], list[Run]]]:
    """Every way to give all GPUs a run, and some CPU ranks those around it."""
    places = [i for i, device in enumerate(order) if device.kind == "cuda"]
    front, gpus, back = (
        order[: places[0]],
        order[places[0] : places[-1] + 1],
        order[places[-1] + 1 :],
    )
    for first in range(layers):
        for end in range(first + 1, layers + 1):
            for before in cuts(front, 0, first):
                for behind in cuts(back, end, layers):
                    if before or behind:
                        yield even_runs(gpus, first, end), [*before, *behind]


def cuts(devices: Sequence[Device], first: int, end: int) -> Iterator[list[Run]]:
    """Every way to give layers to some of the devices, in order."""
    if first == end:
        yield []
    for used in range(1, min(len(devices), end - first) + 1):
        for chosen in combinations(devices, used):
            for inner in combinations(range(first + 1, end), used - 1):
                bounds = (first, *inner, end)
                yield [Run(d, *cut) for d, cut in zip(chosen, pairwise(bounds), strict=True)]


def offloads(backend: Backend, layers: int) -> Iterator[Offload]:
    if backend == "uva":
        for steps in range(1, int(8 / UVA_STEP_GIB) + 1):
            yield UvaOffload(gib_per_gpu=steps * UVA_STEP_GIB)
        return
    for size in range(1, layers + 1):
        for count in range(1, size + 1):
            yield PrefetchOffload(group_size=size, num_in_group=count)


def holds(
    gpus: list[Run], cpus: list[Run], offload: Offload, memory: MemoryModel, host: int
) -> bool:
    """Whether all memory suffices, with the margin on GPUs that are filled on purpose."""
    free, pinned = [], 0
    for run in gpus:
        out, buffer = streamed_bytes(memory.spec.layers[run.first : run.end], offload)
        needed = memory.needed(run.device, run.first, run.end)
        streams = needed + MARGIN_BYTES > run.device.memory_limit_bytes
        free.append(run.device.memory_limit_bytes - needed + out - buffer)
        pinned += out
        if streams and free[-1] < MARGIN_BYTES and isinstance(offload, UvaOffload):
            return False
    fullest = min(
        gpus, key=lambda r: r.device.memory_limit_bytes - memory.needed(r.device, r.first, r.end)
    )
    if free[gpus.index(fullest)] < MARGIN_BYTES or min(free) < 0:
        return False
    on_cpus = [(run, memory.needed(run.device, run.first, run.end)) for run in cpus]
    if any(needed > run.device.memory_limit_bytes for run, needed in on_cpus):
        return False
    return pinned + sum(needed for _, needed in on_cpus) <= host


def candidates_of(
    problem: Problem, backend: Backend, host: int
) -> Iterator[tuple[list[Run], Offload]]:
    """Every pipeline that streams and fits."""
    orders = problem.inventory.orders
    memory = problem.placer.memory(orders[0])
    for order in orders:
        for gpus, cpus in pipelines(order, len(problem.spec.layers)):
            # What fits without streaming is a plain pipeline.
            if all(
                memory.needed(r.device, r.first, r.end) + MARGIN_BYTES
                <= r.device.memory_limit_bytes
                for r in gpus
            ):
                continue
            runs = sorted([*gpus, *cpus], key=lambda run: run.first)
            for offload in offloads(backend, max(r.end - r.first for r in gpus)):
                if holds(gpus, cpus, offload, memory, host):
                    yield runs, offload


def best_of_all(problem: Problem, backend: Backend, placer: Placer) -> Placement | None:
    memory = placer.memory(problem.inventory.orders[0])
    return min(
        (
            placer.place(STRATEGY_OF[backend], runs, memory, offload)
            for runs, offload in candidates_of(problem, backend, HOST)
        ),
        key=lambda placement: placement.key(placer.goal),
        default=None,
    )


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
@settings(max_examples=150, deadline=None)
@given(problem=problems())
def test_no_cut_and_no_offloading_beats_the_chosen_ones(backend: Backend, problem: Problem) -> None:
    best = best_of_all(problem, backend, problem.placer)
    found = streamed_pipeline(problem.placer, problem.inventory.orders, HOST, backend)
    assert (found is None) == (best is None)
    if found is not None and best is not None:
        assert found.objective_s == pytest.approx(best.objective_s, rel=1e-9)


def test_streaming_takes_over_from_the_cpu_where_more_sequences_share_the_copies() -> None:
    where = machine([gpu(gib=12)])

    def on_cpu(concurrency: int) -> int:
        load = Workload(max_model_len=2048, concurrency=concurrency)
        plan = make_plan(where, model(), load, PlanRequest(strategy="pipeline-prefetch"))
        return sum(rank.num_layers for rank in plan.ranks if rank.device == "cpu")

    assert on_cpu(1) > on_cpu(16)


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
def test_the_plan_says_what_runs_where_and_what_is_streamed(backend: Backend) -> None:
    request = PlanRequest(strategy=STRATEGY_OF[backend], gpu_memory_bytes=9 * GIB)
    plan = make_plan(machine(), model(), LOAD, request)
    assert plan.strategy == STRATEGY_OF[backend]
    assert sum(plan.split) == 32
    on_cpu = next(rank for rank in plan.ranks if rank.device == "cpu")
    on_gpu = next(rank for rank in plan.ranks if rank.device == "cuda:0")
    assert on_cpu.host_weight_bytes == 0
    assert on_gpu.host_weight_bytes > 0
    assert all(rank.used_bytes <= rank.memory_limit_bytes for rank in plan.ranks)
    assert f"{on_cpu.num_layers} of 32 layers run on cpu (node 0), and " in plan.explanation[0]
    said = "read from host memory over the link" if backend == "uva" else "just ahead of their use"
    assert said in plan.explanation[0]


def test_streamed_weights_and_cpu_stages_share_host_memory() -> None:
    spec, placer = model(), Placer(model(), LOAD, 2048)

    def pinned_and_computed(host_gib: int) -> int | None:
        where = machine([gpu(gib=8)], [node(gib=host_gib)])
        inventory = take_inventory(where, spec, PlanRequest())
        found = streamed_pipeline(placer, inventory.orders, inventory.host_bytes, "prefetch")
        if found is None:
            return None
        on_cpu = sum(s.needed(found.memory) for s in found.stages if s.device.kind == "cpu")
        return on_cpu + sum(stage.host_bytes for stage in found.stages)

    assert pinned_and_computed(10) is None
    for gib in (16, 24, 64):
        taken = pinned_and_computed(gib)
        assert taken is not None
        assert taken <= (gib - 2) * GIB  # less the node's reserve


def test_gpus_on_both_sides_of_a_cpu_rank_do_not_stream() -> None:
    request = PlanRequest(
        devices=("cuda:0", "cpu", "cuda:1"), gpu_memory_bytes=4 * GIB, strategy="pipeline-uva"
    )
    with pytest.raises(DoesNotFitError, match="next to one another in --devices"):
        make_plan(machine(gpus=2), model(), LOAD, request)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 24), min_size=3, max_size=3), st.sampled_from([16, 600]), st.data())
def test_like_layers_wait_as_long_as_when_each_is_looked_at(
    sizes: list[int], prompt: int, data: st.DataObject
) -> None:
    count, group, some = sizes
    offload = PrefetchOffload(group_size=max(group, some), num_in_group=min(group, some))
    spec = model(count, 40_000_000)
    device = take_inventory(machine(), spec, PlanRequest()).gpus[0]
    first = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(first + 1, count))
    for step in (Step(1, 100.0), Step(8, 100.0), Step(0, 0.0), Step(7, 100.0, prompt, 8.0)):
        cost = step_cost(spec, device.rates, step)
        waits = [
            waiting_s(one, spec.layers, device.rates, first, end, offload)
            for one in (cost, replace(cost, alike=False))
        ]
        assert waits[0] == pytest.approx(waits[1])


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20), st.integers(1, 30))
def test_groups_of_like_layers_are_the_smallest_that_suffice(count: int, relief: int) -> None:
    alike = model(count, 5).layers
    found = {offload for _, offload in prefetch_groups(alike, relief)}
    for size in range(1, count + 1):
        enough = (
            PrefetchOffload(group_size=size, num_in_group=some)
            for some in range(1, size + 1)
            if _relief(alike, size, some) >= relief
        )
        least = next(enough, None)
        assert [o for o in found if o.group_size == size] == ([least] if least else [])


def _relief(layers: Sequence[LayerSpec], size: int, some: int) -> int:
    streamed, buffer = streamed_bytes(layers, PrefetchOffload(group_size=size, num_in_group=some))
    return streamed - buffer
