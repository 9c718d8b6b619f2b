"""What the plugin is told equals what was planned."""

from hetctl.launch.rank_map import rank_map_of
from hetctl.planner import PlanRequest, make_plan
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from vllm_hetero.rank_map import RankMap


def test_each_rank_carries_its_plan() -> None:
    plan = make_plan(machine(), model(), Workload(), PlanRequest(split=(8, 24)))
    found = rank_map_of(plan)
    assert RankMap.from_json(found.to_json()) == found
    cpu, gpu = (next(r for r in plan.ranks if r.device == name) for name in ("cpu", "cuda:0"))
    assert found.ranks[cpu.rank].cpus == cpu.cpus
    assert found.ranks[cpu.rank].numa_node == 0
    assert found.ranks[gpu.rank].cpus == ()
    assert [rank.layers for rank in found.ranks] == [rank.layers for rank in plan.ranks]
    assert [rank.kv_cache_bytes for rank in found.ranks] == [r.kv_cache_bytes for r in plan.ranks]


def test_gpus_are_numbered_by_their_place_in_the_pipeline() -> None:
    request = PlanRequest(devices=("cuda:2", "cpu", "cuda:1"), split=(10, 10, 12))
    plan = make_plan(machine(gpus=3), model(), Workload(), request)
    assert plan.devices == ("cuda:2", "cpu", "cuda:1")
    assert [rank.device for rank in rank_map_of(plan).ranks] == ["cuda:0", "cpu", "cuda:1"]


def test_vllm_measures_the_cache_of_a_gpu_engine_itself() -> None:
    plan = make_plan(machine(gpus=1), model(), Workload())
    assert rank_map_of(plan).ranks[0].kv_cache_bytes is None


def test_a_rank_map_of_two_numa_nodes_shares_no_cpu() -> None:
    request = PlanRequest(cpu_ranks=2, gpu_memory_bytes=12 * GIB)
    plan = make_plan(machine(gpus=1, nodes=2), model(), Workload(), request)
    RankMap.from_json(rank_map_of(plan).to_json())  # refuses shared CPUs
    assert {rank.numa_node for rank in rank_map_of(plan).ranks} == {None, 0, 1}
