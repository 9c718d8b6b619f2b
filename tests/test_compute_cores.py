"""Planner and runtime leave the same cores to the engine and the GPU ranks."""

import pytest

from hetctl.planner.device import thread_cores
from hetctl.profiles.machines import load_named_machine, machine_names
from vllm_hetero.default_map import compute_cores


@pytest.mark.parametrize("quota", [None, 6.5])
@pytest.mark.parametrize("name", machine_names())
def test_planner_and_runtime_count_alike(name: str, quota: float | None) -> None:
    known = load_named_machine(name)
    machine = known.model_copy(update={"cpu": known.cpu.model_copy(update={"cpu_quota": quota})})
    cores = {
        node.id: sorted(min(core.cpus) for core in node.cores)
        for node in machine.numa_nodes
        if node.cores
    }
    for gpus in range(len(machine.gpus) + 1):
        planned = {
            node.id: [min(core.cpus) for core in thread_cores(node, machine, gpus)]
            for node in machine.numa_nodes
            if node.cores
        }
        assert planned == compute_cores(cores, gpus, quota)
