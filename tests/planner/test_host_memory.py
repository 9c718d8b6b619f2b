"""What host memory leaves of the links of GPUs that stream together."""

from math import inf
from typing import Any

import pytest

from hetctl.document import FigureByBytes
from hetctl.machine import Machine
from hetctl.planner.device import Device
from hetctl.planner.host_memory import beside_one_another, streaming_at_once
from hetctl.planner.inventory import take_inventory
from hetctl.planner.rates import KernelRates
from hetctl.planner.request import PlanRequest
from hetctl.units import GIB
from tests.planner.machines import figure, gpu, machine, model, node


def gpus_of(here: Machine) -> tuple[Device, ...]:
    return take_inventory(here, model(), PlanRequest()).gpus


def links(here: Machine, bytes_each: float = 0) -> list[float]:
    return [gpu.rates.host_copy_bytes_per_s for gpu in streaming_at_once(gpus_of(here), bytes_each)]


def reads(rate: float, **changes: Any) -> Any:
    return node(memory_read_bytes_per_s=figure(rate), **changes)


def test_a_link_is_no_faster_than_the_memory_that_it_ends_at() -> None:
    slow = machine(nodes=[reads(30e9)])
    assert [gpu.rates.host_copy_bytes_per_s for gpu in gpus_of(slow)] == [30e9]
    assert gpus_of(machine())[0].rates.host_copy_bytes_per_s == 50e9
    whole, held = gpus_of(machine())[0].rates, gpus_of(slow)[0].rates
    assert whole.uva_read is not None
    assert held.uva_read is not None
    assert held.uva_read.at(8) / whole.uva_read.at(8) == pytest.approx(30 / 50)


def test_links_of_one_node_share_its_memory_and_those_of_others_do_not() -> None:
    assert links(machine(gpus=2, nodes=[reads(80e9)])) == [40e9, 40e9]
    assert links(machine(gpus=2, nodes=[reads(120e9)])) == [50e9, 50e9]
    apart = machine(gpus=[gpu(0), gpu(1, numa_node=1)], nodes=[reads(60e9), reads(30e9, id=1)])
    assert links(apart) == [50e9, 30e9]


def test_unlike_links_share_in_proportion() -> None:
    cards = [gpu(0), gpu(1, host_to_device_bytes_per_s=figure(25e9))]
    first, second = links(machine(gpus=cards, nodes=[reads(60e9)]))
    assert (first, second) == pytest.approx((40e9, 20e9))


def test_where_the_node_is_not_known_all_memory_is_shared() -> None:
    cards = [gpu(i, numa_node=None) for i in range(2)]
    assert links(machine(gpus=cards, nodes=[reads(30e9), reads(30e9, id=1)])) == [30e9, 30e9]
    blind = [node(memory_read_bytes_per_s=None)]
    request = PlanRequest(cpu_ranks=0)
    (one,) = take_inventory(machine(gpus=cards[:1], nodes=blind), model(), request).gpus
    assert one.host is not None
    assert one.host.read_bytes_per_s == inf
    assert one.rates.host_copy_bytes_per_s == 50e9


def test_what_the_near_node_has_no_room_for_comes_across() -> None:
    far = {1: figure(20e9)}
    near = reads(100e9, gib=22, memory_read_bytes_per_s_by_node=far)
    here = machine(gpus=[gpu()], nodes=[near, reads(100e9, id=1, gib=200)])
    # 20 GiB beside the reserve of 2.
    assert links(here, 20 * GIB) == [50e9]
    assert links(here, 40 * GIB) == [pytest.approx(1 / (0.5 / 50e9 + 0.5 / 20e9))]
    # Not measured: as fast as the other node reads its own.
    guessed = machine(gpus=[gpu()], nodes=[reads(100e9, gib=22), reads(25e9, id=1, gib=200)])
    assert links(guessed, 40 * GIB) == [pytest.approx(1 / (0.5 / 50e9 + 0.5 / 25e9))]


def test_a_rate_that_memory_bounds_is_no_better_known_than_the_memory() -> None:
    vague = node(memory_read_bytes_per_s=figure(30e9, "estimate"))
    assert gpus_of(machine(nodes=[vague]))[0].rates.sources.host_copy == "estimate"
    roomy = node(memory_read_bytes_per_s=figure(300e9, "estimate"))
    assert gpus_of(machine(nodes=[roomy]))[0].rates.sources.host_copy == "measured"


def table(seconds: float) -> FigureByBytes:
    """Copies of 8 KiB in 30 us, and of 256 MiB."""
    return FigureByBytes(sizes_bytes=(8192, 2**28), values=(3e-5, seconds), source="measured")


def beside(here: Machine, streaming: bool = True) -> tuple[KernelRates, KernelRates]:
    """Of a GPU and of a CPU rank that work at the same time."""
    inventory = take_inventory(here, model(), PlanRequest())
    card, core = beside_one_another([inventory.gpus[0], inventory.cpus[0]], streaming)
    return card.rates, core.rates


def test_a_stream_and_a_cpu_rank_leave_one_another_what_was_measured() -> None:
    busy = {
        "host_to_device_while_cpu_reads_s_by_bytes": table(2**28 / 45e9),
        "device_to_host_while_cpu_reads_s_by_bytes": table(2**28 / 40e9),
    }
    here = machine(
        gpus=[gpu(**busy)], nodes=[reads(91e9, memory_read_while_copying_bytes_per_s=figure(50e9))]
    )
    card, core = beside(here)
    alone = take_inventory(here, model(), PlanRequest())
    assert card.host_copy_bytes_per_s == pytest.approx(45e9)
    assert (card.hop_in_bytes_per_s, card.hop_out_bytes_per_s) == pytest.approx((45e9, 40e9))
    assert card.hop_latency_s == pytest.approx(3e-5)
    ratio = core.weight_read.at(1) / alone.cpus[0].rates.weight_read.at(1)
    assert ratio == pytest.approx(50 / 91)
    # What does not stream leaves a CPU rank its memory.
    assert beside(here, streaming=False)[1] == alone.cpus[0].rates


def test_what_was_not_measured_is_shared_evenly() -> None:
    """As an H200's link and 16 cores did: 50 and 45 GB/s of 91."""
    here = machine(nodes=[reads(91e9)])
    card, core = beside(here)
    assert card.host_copy_bytes_per_s == pytest.approx(45.5e9)
    alone = take_inventory(here, model(), PlanRequest()).cpus[0].rates
    assert core.weight_read.at(8) / alone.weight_read.at(8) == pytest.approx(0.5)
    roomy, free = beside(machine(nodes=[reads(400e9)]))
    assert roomy.host_copy_bytes_per_s == 50e9
    wide = take_inventory(machine(nodes=[reads(400e9)]), model(), PlanRequest()).cpus[0].rates
    assert free.weight_read.at(8) / wide.weight_read.at(8) == pytest.approx(1 - 50 / 400)


def test_devices_of_one_kind_do_not_disturb_one_another() -> None:
    inventory = take_inventory(machine(gpus=2, nodes=2), model(), PlanRequest())
    for devices in (inventory.gpus, inventory.cpus):
        assert beside_one_another(devices, streaming=True) == list(devices)
