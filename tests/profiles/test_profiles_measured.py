"""Measurements replace datasheets, where they are of this machine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hetctl.errors import UsageError
from hetctl.machine import Machine
from hetctl.machine_profile import (
    GpuProfile,
    MachineProfile,
    Measured,
    MeasuredByBytes,
    MeasuredByRows,
    NodeProfile,
    NotMeasured,
)
from hetctl.plan import Prediction
from hetctl.planner import PlanRequest, make_plan
from hetctl.profiles.measured import applied, with_measurements
from hetctl.profiles.measured_file import profile_path
from hetctl.workload import Workload
from tests.planner.machines import figure, gpu, machine, model, node

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def measured(value: float, spread: float = 0.1) -> Measured:
    half = value * spread / 2
    return Measured(median=value, low=value - half, high=value + half, samples=5)


def profile(**changes: object) -> MachineProfile:
    fields: dict[str, object] = {
        "machine_fingerprint": "test",
        "measured_at": NOW - timedelta(days=3),
        "tool_versions": {"torch": "2.11.0", "kernel": "6.1"},
        "numa_nodes": (
            NodeProfile(
                numa_node=0,
                threads=16,
                memory_read_bytes_per_s=measured(90e9),
                weight_read_bytes_per_s_by_rows=MeasuredByRows(
                    rows=(1, 64), values=(measured(60e9), measured(30e9))
                ),
            ),
        ),
        "gpus": (GpuProfile(index=0, host_to_device_bytes_per_s=measured(55e9)),),
    }
    return MachineProfile.model_validate({**fields, **changes})


def vague() -> Machine:
    """A machine of datasheet rates."""
    sheet = figure(1e11, "datasheet")
    card = gpu(
        memory_read_bytes_per_s=figure(2e12, "datasheet"),
        matmul_bf16_flops=figure(4e14, "datasheet"),
        host_to_device_bytes_per_s=sheet,
    )
    return machine(gpus=[card], nodes=[node(memory_read_bytes_per_s=sheet)])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_profile_survives_its_json() -> None:
    assert MachineProfile.parse(profile().to_json(), "test") == profile()


def test_what_was_measured_replaces_and_the_rest_stays() -> None:
    found = applied(profile(), vague(), NOW)
    read = found.numa_nodes[0].memory_read_bytes_per_s
    assert read is not None
    assert (read.value, read.source) == (90e9, "measured")
    assert read.note == "2026-11-18, 8.55e+10 to 9.45e+10 in 5 runs"
    curve = found.numa_nodes[0].weight_read_bytes_per_s_by_rows
    assert curve is not None
    assert (curve.rows, curve.values) == ((1, 64), (60e9, 30e9))
    assert found.gpus[0].memory_read_bytes_per_s == vague().gpus[0].memory_read_bytes_per_s
    assert found.rate_notes == ()


def test_plans_rest_on_it() -> None:
    profile().save(profile_path("test"))
    before = make_plan(vague(), model(), _load(), _cpu())
    after = make_plan(with_measurements(vague(), NOW), model(), _load(), _cpu())
    # 1 sequence: 60 GB/s measured against 74% of 100 GB/s.
    ratio = after.ranks[0].decode_parts.weights_s / before.ranks[0].decode_parts.weights_s
    assert ratio == pytest.approx(74 / 60)
    # Attention and the overhead of a layer are constants still.
    assert after.prediction.rates == "estimate"
    guessed = ["(weights read, attention, launches)", "(attention, launches)"]
    for plan, names in zip((before, after), guessed, strict=True):
        assert any(f"were not measured {names}" in sentence for sentence in plan.explanation)


def _load() -> Workload:

    return Workload(concurrency=1, max_model_len=2048)


def _cpu() -> PlanRequest:

    return PlanRequest(devices=("cpu",))


def test_without_a_file_nothing_changes() -> None:
    assert with_measurements(vague()) == vague()


def test_a_foreign_profile_is_noticed_and_not_used() -> None:
    profile(machine_fingerprint="other").save(profile_path("test"))
    found = with_measurements(vague(), NOW)
    assert found.gpus == vague().gpus
    assert "holds measurements of another machine (other) and is not used" in found.rate_notes[0]
    assert found.rate_notes[0] in make_plan(found, model(8), _load()).explanation


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measured_at": NOW - timedelta(days=200)}, "200 days old"),
        ({"tool_versions": {"kernel": "5.4"}}, "made with kernel 5.4 (now 6.1)"),
        ({"tool_versions": {"vllm": "0.1"}}, "made with vllm 0.1 (now "),
        (
            {"gpus": (GpuProfile(index=0, layer_overhead_s=measured(1e-5, 0.5)),)},
            "layer_overhead_s lie more than 30% apart",
        ),
    ],
)
def test_a_stale_profile_is_used_and_said(changes: dict[str, object], message: str) -> None:
    where = vague().model_copy(update={"kernel": "6.1"})
    found = applied(profile(**changes), where, NOW)
    assert any(message in note for note in found.rate_notes)
    read = found.numa_nodes[0].memory_read_bytes_per_s
    assert read is not None
    assert read.source == "measured"


def test_what_was_not_measured_is_said_once() -> None:
    missing = tuple(NotMeasured(device="cuda:0", what=what, reason="no") for what in "ab")
    found = applied(profile(not_measured=missing), vague(), NOW)
    assert found.rate_notes == (
        "Not measured: cuda:0's a and 1 more; these are the tables' figures.",
    )


def test_rates_are_those_of_the_cores_that_were_measured() -> None:
    whole = applied(profile(numa_nodes=(cores(16),)), vague(), NOW)
    part = applied(profile(numa_nodes=(cores(15),)), vague(), NOW)
    reads = [
        make_plan(where, model(), _load(), _cpu()).ranks[0].decode_parts.weights_s
        for where in (whole, part)
    ]
    # A rank gets 15 of the 16 cores: 15/16 of what all of them did, all of what 15 did.
    assert reads[0] / reads[1] == pytest.approx(16 / 15)


def cores(threads: int) -> NodeProfile:
    curve = MeasuredByRows(rows=(1,), values=(measured(60e9),))
    return NodeProfile(numa_node=0, threads=threads, weight_read_bytes_per_s_by_rows=curve)


def by_bytes(*pairs: tuple[int, float]) -> MeasuredByBytes:
    sizes, seconds = zip(*pairs, strict=True)
    return MeasuredByBytes(sizes_bytes=sizes, values=tuple(map(measured, seconds)))


def test_a_hop_is_divided_between_its_sides() -> None:
    copies = by_bytes((8192, 20e-6), (2**28, 5e-3))
    card = GpuProfile(
        index=0,
        host_to_device_s_by_bytes=copies,
        device_to_host_s_by_bytes=by_bytes((8192, 10e-6), (2**28, 5e-3)),
        host_to_device_bytes_per_s=measured(50e9),
    )
    hops = by_bytes((8192, 150e-6), (8192 + 64_000_000, 150e-6 + 64e6 / 25e9))
    rank = NodeProfile(numa_node=0, threads=16, hop_peer="gpu", hop_s_by_bytes=hops)
    found = applied(profile(numa_nodes=(rank,), gpus=(card,)), vague(), NOW)
    there, here = found.gpus[0].hop_latency_s, found.numa_nodes[0].hop_latency_s
    assert there is not None
    assert here is not None
    # The GPU's side is a small copy, on average of both directions.
    assert (there.value, here.value) == pytest.approx((15e-6, 135e-6))
    rate = found.numa_nodes[0].hop_bytes_per_s
    assert rate is not None
    # 25 GB/s in all, of which the link takes half of the time.
    assert rate.value == pytest.approx(50e9)


def test_a_hop_between_cpus_is_half_on_each_side() -> None:
    hops = by_bytes((8192, 100e-6), (8192 + 64_000_000, 100e-6 + 64e6 / 25e9))
    rank = NodeProfile(numa_node=0, threads=16, hop_peer="cpu", hop_s_by_bytes=hops)
    node_now = applied(profile(numa_nodes=(rank,)), vague(), NOW).numa_nodes[0]
    assert node_now.hop_latency_s is not None
    assert node_now.hop_bytes_per_s is not None
    assert node_now.hop_latency_s.value == pytest.approx(50e-6)
    assert node_now.hop_bytes_per_s.value == pytest.approx(50e9)


# A profile has for each part what it is of, and figures.
NAMES = {"numa_node", "threads", "hop_peer", "index"}
GPU_FIGURES = sorted(set(GpuProfile.model_fields) - NAMES)
NODE_FIGURES = sorted(set(NodeProfile.model_fields) - NAMES)


def some(field: str, factor: float) -> Any:
    """A figure of a field that can be, times ``factor``."""
    if field.endswith("_by_bytes"):
        smallest, largest = 30e-6 * factor, 9e-3 * factor
        return by_bytes((8192, smallest), (2**28, largest))
    if field.endswith("_s") and not field.endswith("bytes_per_s"):
        return measured(2e-4 * factor, 0)
    if field.endswith("_by_node"):
        return {1: measured(2e10 * factor, 0)}
    value = measured((1e12 if "flops" in field else 3e10) * factor, 0)
    return MeasuredByRows(rows=(1,), values=(value,)) if "_by_" in field else value


def with_figure(part: str, field: str, factor: float) -> MachineProfile:
    """Nothing but one figure, and what it needs to mean something."""
    figures: dict[str, Any] = {field: some(field, factor)}
    for other in (field.replace("host_to_device", "device_to_host"),
                  field.replace("device_to_host", "host_to_device")):  # fmt: skip
        if field.endswith("s_by_bytes") and other not in figures:
            figures[other] = some(other, 1.0)
    if part == "gpu":
        cards = tuple(GpuProfile(index=i, **figures) for i in range(2))
        return profile(numa_nodes=(), gpus=cards)
    peer = {"hop_peer": "gpu"} if field == "hop_s_by_bytes" else {}
    return profile(numa_nodes=(NodeProfile(numa_node=0, threads=16, **peer, **figures),), gpus=())


def predicted(found: MachineProfile) -> list[Prediction]:
    """What the strategies are said to give, on GPUs that are not much faster than the CPU."""
    slow = {"memory_read_bytes_per_s": figure(3e11), "matmul_bf16_flops": figure(1e13)}
    cards = [gpu(i, gib=7, **slow) for i in range(2)]
    where, cramped = (
        applied(found, machine(gpus=cards, nodes=[node(0, gib=gib), node(1)]), NOW)
        for gib in (12, 6)
    )
    plans = [
        make_plan(where, model(8, dtype=dtype), load, PlanRequest(devices=devices))
        for dtype in ("bfloat16", "float16", "float32")
        for load in (
            Workload(concurrency=1, max_model_len=2048),
            Workload(concurrency=32, input_len=128, max_model_len=256),
        )
        for devices in (("cuda:0",), ("cuda:0", "cpu"))
    ]
    large = model(32)
    plans += [
        make_plan(place, large, Workload(concurrency=c, max_model_len=1024), PlanRequest())
        for c in (1, 32)
        for place in (where, cramped)
    ]
    return [entry.prediction for plan in plans for entry in plan.ranking if entry.prediction]


@pytest.mark.parametrize(
    ("part", "field"),
    [*(("gpu", field) for field in GPU_FIGURES), *(("node", field) for field in NODE_FIGURES)],
)
def test_every_figure_that_is_measured_changes_a_plan(part: str, field: str) -> None:
    before, after = (predicted(with_figure(part, field, factor)) for factor in (1.0, 0.5))
    assert before != after


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus": (GpuProfile(index=3),)}, "GPU 3, which this machine has not"),
        ({"numa_nodes": (NodeProfile(numa_node=2, threads=4),)}, "NUMA node 2, which"),
        ({"numa_nodes": (NodeProfile(numa_node=0, threads=20),)}, "on 20 threads, and 16 of its"),
    ],
)
def test_figures_of_devices_that_are_not_there_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        applied(profile(**changes), vague(), NOW)


def reading(weights: Measured, memory: Measured) -> NodeProfile:
    return NodeProfile(
        numa_node=0,
        threads=16,
        memory_read_bytes_per_s=memory,
        weight_read_bytes_per_s_by_rows=MeasuredByRows(rows=(8,), values=(weights,)),
    )


def test_measurements_that_cannot_both_be_right_are_refused_and_noisy_ones_are_not() -> None:
    wrong = reading(measured(200e9), measured(90e9))
    with pytest.raises(UsageError, match=r"node 0 contradicts itself: weight_read.*measure it"):
        applied(profile(numa_nodes=(wrong,)), vague(), NOW)
    # Work beside it came and went: their ranges meet.
    noisy = reading(measured(200e9, 0.8), measured(90e9, 0.6))
    assert applied(profile(numa_nodes=(noisy,)), vague(), NOW)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"median": 90000000000.0',
            '"median": -1.0',
            "numa_nodes.0.memory_read_bytes_per_s.median",
        ),
        ('"median": 90000000000.0', '"median": 1.0', "is not between"),
        ('"samples": 5', '"samples": 0', "samples"),
        ('"rows": [\n          1,', '"rows": [\n          100,', "rows must rise"),
        ('"schema_version": 1', '"schema_version": 9', "reads version 1"),
        ('"threads": 16,', "", "numa_nodes.0.threads: Field required"),
    ],
)
def test_an_absurd_figure_is_named(old: str, new: str, message: str) -> None:
    text = profile().to_json()
    assert old in text
    path = profile_path("test")
    path.parent.mkdir(parents=True)
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        with_measurements(vague(), NOW)
    assert str(path) in str(caught.value)
