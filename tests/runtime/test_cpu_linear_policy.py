"""Measuring, memory for second copies and what is kept of a layer, with made-up kernels."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vllm_hetero import env
from vllm_hetero.cpu_linear import measure, policy
from vllm_hetero.cpu_linear.choice import LEAST_ROWS, ROWS, Kernel, Step
from vllm_hetero.cpu_linear.kernels import Apply
from vllm_hetero.cpu_linear.mode import Mode, mode_from_env
from vllm_hetero.cpu_linear.policy import LinearPolicy
from vllm_hetero.cpu_linear.report import summary

NO_LIMIT = 1 << 40


class FakeKernels:
    """Kernels that compute with torch and take their time on a made-up clock."""

    def __init__(self, seconds: Callable[[Kernel, int], float]) -> None:
        self.now = 0.0
        self.calls: list[tuple[Kernel, int]] = []
        self.seconds = seconds
        self.taken: tuple[Kernel, ...] = ("onednn", "packed", "torch")

    def clock(self) -> float:
        return self.now

    def takes(self, kernel: Kernel, weight: torch.Tensor) -> bool:
        return kernel in self.taken

    def prepare(self, kernel: Kernel, weight: torch.Tensor) -> Apply:
        def apply(x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            self.now += self.seconds(kernel, len(x))
            self.calls.append((kernel, len(x)))
            return torch.nn.functional.linear(x, weight, bias)

        return apply


def packed_for_few(kernel: Kernel, rows: int) -> float:
    if kernel == "packed":
        return 0.0008 if rows <= 4 else 0.003
    return 0.001


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> FakeKernels:
    fake = FakeKernels(packed_for_few)
    monkeypatch.setattr(policy, "prepare", fake.prepare)
    monkeypatch.setattr(policy, "CacheSweep", lambda: bool)
    monkeypatch.setattr(policy, "takes", fake.takes)
    monkeypatch.setattr(measure, "prepare", fake.prepare)
    return fake


def a_layer(n: int = 2048, k: int = 1024, dtype: torch.dtype = torch.bfloat16) -> torch.nn.Module:
    layer = torch.nn.Module()
    layer.weight = torch.nn.Parameter(torch.zeros(n, k, dtype=dtype), requires_grad=False)
    return layer


def a_policy(kernels: FakeKernels, mode: Mode = "auto", limit: int = NO_LIMIT) -> LinearPolicy:
    return LinearPolicy(mode, lambda: limit, kernels.clock)


def test_each_call_runs_the_kernel_for_its_rows(kernels: FakeKernels) -> None:
    layer = a_layer()
    a_policy(kernels).equip(layer, keep_weight=False)
    kernels.calls.clear()
    for shape in ((1, 1024), (2, 2, 1024), (5, 1024), (300, 1024)):
        out = layer.cpu_linear(torch.ones(shape, dtype=torch.bfloat16), layer.weight, None)
        assert out.shape == (*shape[:-1], 2048)
    assert kernels.calls == [("packed", 1), ("packed", 4), ("onednn", 5), ("onednn", 300)]


def test_no_rows_need_no_kernel(kernels: FakeKernels) -> None:
    dispatch = a_policy(kernels).dispatch_for(a_layer().weight)
    kernels.calls.clear()
    assert dispatch(torch.empty(0, 1024), torch.empty(0), None).shape == (0, 2048)
    assert kernels.calls == []


def test_padded_rows_do_not_reach_the_result(kernels: FakeKernels) -> None:
    kernels.taken = ("onednn", "torch")
    kernels.seconds = lambda kernel, rows: 0.002 if rows < 8 else 0.001
    weight = torch.rand(2048, 1024).bfloat16()
    dispatch = a_policy(kernels).dispatch_for(weight)
    kernels.calls.clear()
    x = torch.rand(3, 1024).bfloat16()
    out = dispatch(x, weight, None)
    assert kernels.calls == [("onednn", 8)]
    assert torch.equal(out, torch.nn.functional.linear(x, weight))


def test_the_weight_is_freed_unless_something_else_reads_it(kernels: FakeKernels) -> None:
    freed, kept, read_by_torch = a_layer(), a_layer(), a_layer()
    a_policy(kernels).equip(freed, keep_weight=False)
    a_policy(kernels).equip(kept, keep_weight=True)
    a_policy(kernels, "torch").equip(read_by_torch, keep_weight=False)
    assert [layer.weight.numel() > 0 for layer in (freed, kept, read_by_torch)] == [
        False,
        True,
        True,
    ]


def test_a_freed_weight_still_says_its_type(kernels: FakeKernels) -> None:
    layer = a_layer()
    a_policy(kernels).equip(layer, keep_weight=False)
    assert (layer.weight.numel(), layer.weight.dtype) == (0, torch.bfloat16)


def test_layers_that_share_a_weight_share_what_is_made_of_it(kernels: FakeKernels) -> None:
    embedding, head, other = a_layer(), a_layer(), a_layer()
    head.weight = embedding.weight
    asked = a_policy(kernels)
    for layer in (embedding, head, other):
        asked.equip(layer, keep_weight=False)
    assert head.cpu_linear is embedding.cpu_linear
    assert other.cpu_linear is not head.cpu_linear
    assert sum(asked.layers.values()) == 2
    assert not any(layer.weight.numel() for layer in (embedding, head, other))


def test_a_weight_is_not_kept_for_a_layer_that_may_share_it(kernels: FakeKernels) -> None:
    kernels.taken = ("onednn",)
    layer = a_layer(n=64, k=64)
    weight = weakref.ref(layer.weight)
    asked = a_policy(kernels)
    asked.equip(layer, keep_weight=False)
    gc.collect()
    assert weight() is None


def test_once_loaded_nothing_is_measured_and_its_memory_is_free(kernels: FakeKernels) -> None:
    asked = a_policy(kernels)
    asked.equip(a_layer(), keep_weight=False)
    asked.equip_at_first_call(head := a_layer(n=4096))
    assert "_sweep" in vars(asked)
    asked.loaded()
    kernels.calls.clear()
    head.cpu_linear(torch.ones(1, 1024, dtype=torch.bfloat16), head.weight, None)
    assert kernels.calls == [("packed", 1)]  # As the nearest shape.
    assert "_sweep" not in vars(asked)


def test_second_copies_end_where_their_memory_does(kernels: FakeKernels) -> None:
    one = 2048 * 1024 * 2
    asked = a_policy(kernels, limit=2 * one)
    tables = [asked.dispatch_for(a_layer().weight).table for _ in range(3)]
    assert [len(table) for table in tables] == [2, 2, 1]
    assert asked.second_copy_bytes == 2 * one
    assert "take 8 MiB of 8 MiB allowed" in summary(asked)


def test_a_shape_is_measured_once(kernels: FakeKernels) -> None:
    asked = a_policy(kernels)
    asked.dispatch_for(a_layer().weight)
    measured = len(kernels.calls)
    asked.dispatch_for(a_layer().weight)
    assert len(kernels.calls) == measured > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_types_than_bfloat16_always_get_the_same(
    kernels: FakeKernels, dtype: torch.dtype
) -> None:
    table = a_policy(kernels).dispatch_for(a_layer(dtype=dtype).weight).table
    assert table == (Step(None, "onednn"),)
    assert kernels.calls == []


def test_small_weights_are_not_measured(kernels: FakeKernels) -> None:
    a_policy(kernels).dispatch_for(a_layer(n=64, k=64).weight)
    assert kernels.calls == []


@pytest.mark.parametrize(
    ("mode", "taken", "expected"),
    [
        ("onednn", ("onednn", "packed", "torch"), "onednn"),
        ("packed", ("onednn", "packed", "torch"), "packed"),
        ("packed", ("onednn", "torch"), "onednn"),
        ("onednn", ("torch",), "torch"),
        ("auto", ("torch",), "torch"),
        ("torch", ("onednn", "packed", "torch"), "torch"),
    ],
)
def test_a_fixed_choice_takes_the_next_best_where_it_must(
    kernels: FakeKernels, mode: Mode, taken: tuple[Kernel, ...], expected: Kernel
) -> None:
    kernels.taken = taken
    table = a_policy(kernels, mode).dispatch_for(a_layer().weight).table
    assert table == (Step(None, expected),)
    assert kernels.calls == []


def test_both_takes_a_second_copy_without_asking_for_a_gain_or_for_room(
    kernels: FakeKernels,
) -> None:
    kernels.seconds = lambda kernel, rows: 0.001
    table = a_policy(kernels, "both", limit=0).dispatch_for(a_layer().weight).table
    assert {step.kernel for step in table} == {"onednn", "packed"}


def test_measuring_ends_in_time_and_later_shapes_take_the_nearest_choice(
    kernels: FakeKernels,
) -> None:
    kernels.seconds = lambda kernel, rows: 10 * packed_for_few(kernel, rows)
    asked = a_policy(kernels)
    shapes = [(2048 + 64 * i, 1024) for i in range(12)]
    tables = [asked.dispatch_for(a_layer(*shape).weight).table for shape in shapes]
    # A round of one number of rows may begin just before the time is up.
    a_round = 10 * 4 * (0.003 + 0.001)
    assert asked.measured_s <= policy.TOTAL_S + a_round
    assert asked.measured_s == pytest.approx(kernels.now)
    assert len(asked.rates) < len(shapes)
    assert tables == [tables[0]] * len(shapes)
    assert len(tables[0]) == 2


def test_a_sweep_reads_all_its_memory_between_two_uses_of_a_copy() -> None:
    sweep = measure.CacheSweep(cache_bytes=1 << 16)
    parts = sweep._parts
    assert sum(part.nbytes for part in parts) == 4 << 16
    assert len(parts) == measure._MOST_COPIES


@pytest.mark.parametrize(("said", "expected"), [("307200K\n", 307200 << 10), ("?", 64 << 20)])
def test_the_cache_is_as_large_as_the_kernel_says(said: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "size").write_text(said)
    assert measure.last_level_cache_bytes(tmp_path / "size") == expected


def test_a_time_limit_leaves_rows_out(kernels: FakeKernels) -> None:
    kernels.seconds = lambda kernel, rows: 0.001 * rows
    weight = a_layer().weight
    taken = measure.sample(weight, ["onednn"])
    times = measure.measure(taken.forms, 1024, weight.dtype, 0.32, kernels.clock)
    assert list(times["onednn"]) == list(ROWS[:4])
    assert times["onednn"][4] == pytest.approx(0.004)


def test_rows_without_which_there_is_no_choice_may_take_longer(kernels: FakeKernels) -> None:
    kernels.seconds = lambda kernel, rows: 0.001 * rows
    weight = a_layer().weight
    taken = measure.sample(weight, ["onednn"])
    limits = {"limit_s": 0.001, "least_s": 0.3}
    times = measure.measure(taken.forms, 1024, weight.dtype, clock=kernels.clock, **limits)
    assert list(times["onednn"]) == list(LEAST_ROWS)
    limits["least_s"] = 0.2
    times = measure.measure(taken.forms, 1024, weight.dtype, clock=kernels.clock, **limits)
    assert list(times["onednn"]) == list(LEAST_ROWS[:2])


def test_a_machine_too_slow_to_measure_gets_what_vllm_would_take(kernels: FakeKernels) -> None:
    kernels.seconds = lambda kernel, rows: 10 * packed_for_few(kernel, rows) * rows
    asked = a_policy(kernels)
    assert asked.dispatch_for(a_layer().weight).table == (Step(None, "onednn"),)
    assert kernels.calls
    assert asked.rates == {}


def test_an_embedding_holds_no_copy_until_it_is_used_as_a_head(kernels: FakeKernels) -> None:
    layer = a_layer()
    asked = a_policy(kernels)
    asked.equip_at_first_call(layer)
    assert asked.layers == {}
    x = torch.ones(1, 1024, dtype=torch.bfloat16)
    assert layer.cpu_linear(x, layer.weight, None).shape == (1, 2048)
    assert sum(asked.layers.values()) == 1
    assert layer.weight.numel() > 0


def test_the_users_choice_comes_first_then_vllms_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.CPU_LINEAR, raising=False)
    monkeypatch.delenv("VLLM_CPU_SGL_KERNEL", raising=False)
    assert mode_from_env() == "auto"
    monkeypatch.setenv("VLLM_CPU_SGL_KERNEL", "1")
    assert mode_from_env() == "packed"
    monkeypatch.setenv(env.CPU_LINEAR, "both")
    assert mode_from_env() == "both"
    monkeypatch.setenv(env.CPU_LINEAR, "fastest")
    with pytest.raises(ValueError, match="'fastest' is unknown; use one of auto, onednn"):
        mode_from_env()


def test_a_compiled_model_still_chooses_by_rows(kernels: FakeKernels) -> None:
    dispatch = a_policy(kernels).dispatch_for(a_layer().weight)
    traces = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        traces.append(graph)
        return graph.forward

    model = torch.compile(
        lambda x: dispatch(x, x, None) + 1, backend=backend, dynamic=True, fullgraph=True
    )
    kernels.calls.clear()
    for rows in (2, 4, 5, 300):
        assert model(torch.ones(rows, 1024, dtype=torch.bfloat16)).shape == (rows, 2048)
    assert kernels.calls == [("packed", 2), ("packed", 4), ("onednn", 5), ("onednn", 300)]
    assert len(traces) == 1
