"""What is reserved for a plan is enough to make the same plan again inside."""

from dataclasses import replace
from typing import Any

import pytest

from hetctl.launch.emit.container import arguments
from hetctl.launch.emit.resources import host_memory_bytes
from hetctl.machine import Machine
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, make_plan, parse_devices, parse_split, parse_strategy
from hetctl.workload import Workload
from tests.launch.emit.samples import service
from tests.planner.machines import gpu, machine, model, node

WORKLOAD = Workload(concurrency=4, input_len=512, output_len=128)
ON_GPUS = ("gpu", "gpu-tp", "uva", "prefetch")
STRATEGIES = (*ON_GPUS, "pipeline", "pipeline-prefetch", "mixed-tp", "cpu", "cpu-tp")


def inside(plan: Plan, outside: Machine) -> Machine:
    """A pod on the same machine: as much memory as was asked for."""
    nodes = [rank.numa_node for rank in plan.ranks if rank.numa_node is not None] or [0]
    share = host_memory_bytes(plan) // len(set(nodes))
    rooms = tuple(
        room.model_copy(update={"memory_free_bytes": min(share, room.memory_free_bytes)})
        for room in outside.numa_nodes
    )
    return outside.model_copy(update={"numa_nodes": rooms})


def request_of(words: list[str]) -> PlanRequest:
    """The request that the emitted options make."""
    options = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    request = PlanRequest(
        devices=parse_devices(options["devices"]),
        cpu_ranks=int(options["cpu-ranks"]) if "cpu-ranks" in options else None,
    )
    if "split" in options:
        return replace(request, split=parse_split(options["split"]))
    return replace(request, strategy=parse_strategy(options["strategy"]))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_emitted_options_lead_to_the_same_split_within_the_memory(
    strategy: Any, nodes: int
) -> None:
    cards = 2 if strategy in ("gpu", "gpu-tp", "mixed-tp") else 1
    gib = 24 if strategy.startswith("gpu") else 10
    rooms = [node(index, gib=64) for index in range(nodes)]
    outside = machine([gpu(index, gib=gib) for index in range(cards)], rooms)
    ranks = 2 if strategy == "cpu-tp" else None
    plan = make_plan(outside, model(), WORKLOAD, PlanRequest(strategy=strategy, cpu_ranks=ranks))
    words = arguments(service(plan=plan))
    again = make_plan(inside(plan, outside), model(), WORKLOAD, request_of(words))
    assert (again.strategy, again.split, again.devices) == (plan.strategy, plan.split, plan.devices)
    assert again.tensor_parallel_size == plan.tensor_parallel_size
