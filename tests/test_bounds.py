"""Figures that cannot be are refused, with their place, value, bound and reason."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from hetctl.bounds import RatedPart, bound_of
from hetctl.document import FigureByBytes, FigureByRows, Quantity
from hetctl.errors import UsageError
from hetctl.machine import Cache, Gpu, Machine, NumaNode
from hetctl.machine_profile import GpuProfile, Measured, MeasuredByRows, NodeProfile
from hetctl.profiles.machines import load_named_machine, machine_names
from tests.planner.machines import figure, gpu, machine, node


def curve(*values: float) -> FigureByRows:
    rows = tuple(range(1, len(values) + 1))
    return FigureByRows(rows=rows, values=values, source="measured")


def times(value: float) -> FigureByBytes:
    return FigureByBytes(sizes_bytes=(8192,), values=(value,), source="measured")


def measured(value: float) -> Measured:
    return Measured(median=value, low=value, high=value, samples=1)


@pytest.mark.parametrize(
    ("part", "field", "value", "said"),
    [
        (node, "memory_read_bytes_per_s", figure(1e20), "1e[+]20 B/s is more .*DDR5-8800"),
        (node, "matmul_bf16_flops", figure(1e30), "1e[+]30 FLOP/s is more .*AMX"),
        (node, "weight_read_bytes_per_s_by_rows", curve(1e11, 1e15), "1e[+]15 B/s at 2 rows"),
        (node, "layer_overhead_s", figure(60), "60 s is more"),
        (node, "hop_latency_s", figure(1e-9), "1e-09 s is less"),
        (node, "hop_bytes_per_s", figure(1e13), "1e[+]13 B/s is more .*NVLink-C2C"),
        (node, "all_reduce_s_by_bytes", times(1e4), "10000 s for 8,192 bytes is more"),
        (gpu, "memory_read_bytes_per_s", figure(3e3), "3000 B/s is less .*B200"),
        (gpu, "matmul_bf16_flops", figure(1e18), "1e[+]18 FLOP/s is more .*B200"),
        (gpu, "host_to_device_bytes_per_s", figure(5e12), "5e[+]12 B/s is more .*PCIe"),
        (gpu, "device_to_device_bytes_per_s", figure(5e13), "5e[+]13 B/s is more .*NVLink 5"),
    ],
)
def test_a_machine_with_an_impossible_figure_is_refused(
    part: Any, field: str, value: Quantity, said: str
) -> None:
    text = json.loads(machine(gpus=[gpu()], nodes=[node()]).to_json())
    where = "numa_nodes" if part is node else "gpus"
    text[where][0][field] = value.model_dump()
    with pytest.raises(UsageError, match=rf"field {where}\.0\.{field}: .*{said}"):
        Machine.parse(json.dumps(text), "m.json")


@pytest.mark.parametrize("part", [Gpu, NumaNode, GpuProfile, NodeProfile])
def test_every_figure_has_a_bound(part: type[RatedPart]) -> None:
    figures = [
        name
        for name, field in part.model_fields.items()
        if any(word in str(field.annotation) for word in ("Figure", "Measured"))
    ]
    assert figures
    assert [name for name in figures if bound_of(part.PART, name) is None] == []


def test_a_measured_figure_is_bounded_like_a_machines() -> None:
    with pytest.raises(ValidationError, match=r"1e[+]20 B/s is more"):
        NodeProfile(numa_node=0, threads=1, memory_read_bytes_per_s_by_node={1: measured(1e20)})
    table = MeasuredByRows(rows=(8,), values=(measured(1e15),))
    with pytest.raises(ValidationError, match=r"1e[+]15 B/s at 8 rows is more"):
        GpuProfile(index=0, weight_read_bytes_per_s_by_rows=table)


def test_every_known_machine_is_possible() -> None:
    assert [load_named_machine(name).name for name in machine_names()] == machine_names()


def test_weights_cannot_be_read_at_twice_the_rate_of_the_memory_that_holds_them() -> None:
    fast = node(weight_read_bytes_per_s_by_rows=curve(9e10, 2.5e11))
    with pytest.raises(ValidationError) as caught:
        machine(nodes=[fast])
    assert (
        "numa_nodes.0.weight_read_bytes_per_s_by_rows of 2.5e+11 B/s at 2 rows is more than 2 "
        "times memory_read_bytes_per_s, 1e+11 B/s; one of the two is wrong"
    ) in str(caught.value)
    with pytest.raises(ValidationError, match=r"gpus\.0\.uva_read.* 2 times host_to_device"):
        machine(gpus=[gpu(uva_read_bytes_per_s_by_rows=curve(2e11))])


def test_only_measurements_contradict_each_other() -> None:
    """A table's estimate of the memory is not what says that a measurement is wrong."""
    fast = curve(9e10, 2.5e11)
    vague = node(
        weight_read_bytes_per_s_by_rows=fast, memory_read_bytes_per_s=figure(1e11, "estimate")
    )
    assert machine(nodes=[vague])
    large = Cache(level=3, kind="Unified", size_bytes=32 << 20, instances=12)
    assert machine(nodes=[node(weight_read_bytes_per_s_by_rows=fast)], caches=(large,))
