"""Every strategy that can be launched becomes arguments that vLLM understands."""

import importlib.util
from pathlib import Path

import pytest

from hetctl.errors import UsageError
from hetctl.launch.command import LaunchCommand, launch_command
from hetctl.plan import Plan
from hetctl.planner import PlanRequest, make_plan
from hetctl.planner.request import parse_strategy
from hetctl.units import GIB
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from vllm_hetero.rank_map import RankMap

LOAD = Workload(max_model_len=2048)


def plan_of(strategy: str, gpus: int = 1, gib: int = 12) -> Plan:
    request = PlanRequest(gpu_memory_bytes=gib * GIB, strategy=parse_strategy(strategy))
    return make_plan(machine(gpus=gpus), model(), LOAD, request)


def command(plan: Plan, *extra: str) -> LaunchCommand:
    return launch_command(plan, host="127.0.0.1", port=8000, extra_args=extra)


def option(found: LaunchCommand, name: str) -> str | None:
    return found.argv[found.argv.index(name) + 1] if name in found.argv else None


def test_uva_is_given_its_budget_on_the_runner_that_offloads() -> None:
    plan = plan_of("uva")
    found = command(plan)
    assert option(found, "--offload-backend") == "uva"
    assert float(option(found, "--cpu-offload-gb") or 0) == plan.offload.gib_per_gpu  # type: ignore[union-attr]
    assert found.env["VLLM_USE_V2_MODEL_RUNNER"] == "0"
    assert "VLLM_HETERO_RANK_MAP" not in found.env


def test_prefetch_is_given_its_groups() -> None:
    plan = plan_of("prefetch")
    found = command(plan)
    assert option(found, "--offload-backend") == "prefetch"
    assert option(found, "--offload-group-size") == str(plan.offload.group_size)  # type: ignore[union-attr]
    assert option(found, "--offload-num-in-group") == str(plan.offload.num_in_group)  # type: ignore[union-attr]
    assert option(found, "--offload-prefetch-step") == "1"


def test_several_streaming_gpus_are_pipeline_stages() -> None:
    found = command(plan_of("prefetch", gpus=2, gib=6))
    assert option(found, "--pipeline-parallel-size") == "2"
    assert found.env["VLLM_PP_LAYER_PARTITION"] == "16,16"


def test_tensor_parallel_gpus_share_one_stage() -> None:
    found = command(plan_of("gpu-tp", gpus=2, gib=24))
    assert option(found, "--tensor-parallel-size") == "2"
    assert option(found, "--pipeline-parallel-size") == "1"
    assert found.env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "VLLM_PP_LAYER_PARTITION" not in found.env


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
def test_gpus_that_divide_layers_may_stream(backend: str) -> None:
    found = command(plan_of(f"{backend}-tp", gpus=2, gib=7))
    assert option(found, "--offload-backend") == backend
    assert option(found, "--tensor-parallel-size") == "2"
    assert option(found, "--pipeline-parallel-size") == "1"
    assert found.env["VLLM_USE_V2_MODEL_RUNNER"] == "0"
    assert found.env["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "VLLM_HETERO_RANK_MAP" not in found.env


def test_a_mixed_group_is_one_stage_of_ranks_with_a_map() -> None:
    plan = plan_of("mixed-tp")
    found = command(plan)
    assert option(found, "--tensor-parallel-size") == "2"
    assert option(found, "--pipeline-parallel-size") == "1"
    assert option(found, "--block-size") == "128"
    assert found.env["VLLM_HETEROGENEOUS_PLATFORM"] == "1"
    assert "VLLM_PP_LAYER_PARTITION" not in found.env
    ranks = RankMap.from_json(found.env["VLLM_HETERO_RANK_MAP"])
    assert [rank.device for rank in ranks.ranks] == ["cuda:0", "cpu"]
    assert [rank.layers for rank in ranks.ranks] == [(0, 32), (0, 32)]
    assert [rank.kv_cache_bytes for rank in ranks.ranks] == [r.kv_cache_bytes for r in plan.ranks]
    # All ranks hold the same blocks, each of its heads.
    assert len({rank.kv_cache_bytes for rank in ranks.ranks}) == 1
    assert ranks.mixed_groups(2) == (0,)


def test_cpu_ranks_in_tensor_parallel_have_cores_of_their_own() -> None:
    plan = make_plan(machine(gpus=0), model(), LOAD, PlanRequest(strategy="cpu-tp", cpu_ranks=2))
    found = command(plan)
    assert option(found, "--tensor-parallel-size") == "2"
    assert found.env["CUDA_VISIBLE_DEVICES"] == "-1"
    first, second = RankMap.from_json(found.env["VLLM_HETERO_RANK_MAP"]).ranks
    assert len(first.cpus) == len(second.cpus) == 7
    assert not set(first.cpus) & set(second.cpus)


def test_a_pipeline_streams_nothing() -> None:
    found = command(plan_of("pipeline"))
    assert option(found, "--offload-backend") is None
    assert option(found, "--pipeline-parallel-size") == "2"
    assert "VLLM_HETERO_RANK_MAP" in found.env


@pytest.mark.parametrize("backend", ["uva", "prefetch"])
def test_a_pipeline_may_stream_on_its_gpu(backend: str) -> None:
    plan = plan_of(f"pipeline-{backend}", gib=8)
    found = command(plan)
    assert option(found, "--offload-backend") == backend
    assert option(found, "--pipeline-parallel-size") == "2"
    assert found.env["VLLM_USE_V2_MODEL_RUNNER"] == "0"
    ranks = RankMap.from_json(found.env["VLLM_HETERO_RANK_MAP"]).ranks
    assert {rank.device for rank in ranks} == {"cuda:0", "cpu"}
    on_gpu = next(rank for rank in plan.ranks if rank.device == "cuda:0")
    assert on_gpu.host_weight_bytes > 0
    assert all(rank.host_weight_bytes == 0 for rank in plan.ranks if rank.device == "cpu")


@pytest.mark.parametrize("name", ["--cpu-offload-gb=4", "--offload-backend", "-tp"])
def test_options_that_the_plan_decides_are_not_passed_through(name: str) -> None:
    with pytest.raises(UsageError, match=r"use --strategy"):
        command(plan_of("pipeline"), name)


@pytest.mark.parametrize(
    ("strategy", "gpus"),
    [
        ("uva", 1),
        ("prefetch", 2),
        ("gpu-tp", 2),
        ("prefetch-tp", 2),
        ("pipeline", 1),
        ("pipeline-uva", 1),
        ("mixed-tp", 1),
    ],
)
def test_every_option_is_one_of_vllm_s_engine(strategy: str, gpus: int) -> None:
    # Read, not imported: that takes a minute on a busy machine.
    found = importlib.util.find_spec("vllm")
    if found is None or not found.submodule_search_locations:
        pytest.skip("vLLM is not installed")
    source = Path(found.submodule_search_locations[0], "engine", "arg_utils.py").read_text()
    words = command(plan_of(strategy, gpus, 24 if strategy in ("gpu-tp", "mixed-tp") else 7)).argv
    ours = {word for word in words if word.startswith("--")} - {"--host", "--port"}
    assert {name for name in ours if f'"{name}"' not in source} == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--speculative-config", '{"method": "ngram"}'),
        ("--speculative_config.method", "ngram"),
        ("--nnodes=2",),
        ("--enable-expert-parallel",),
        ("--async-scheduling",),
    ],
)
def test_what_cpu_ranks_cannot_do_is_refused_before_anything_starts(
    arguments: tuple[str, ...],
) -> None:
    with pytest.raises(UsageError, match="does not work with CPU ranks; leave it out"):
        command(plan_of("pipeline"), *arguments)
    assert command(plan_of("gpu", gib=24), *arguments).argv[-1] == arguments[-1]


def test_the_cache_is_asked_for_in_its_dtype() -> None:
    plan = plan_of("gpu", gib=24)
    assert option(command(plan), "--kv-cache-dtype") is None
    other = plan.model_copy(update={"kv_cache_dtype": "fp8"})
    assert option(command(other), "--kv-cache-dtype") == "fp8"
    with pytest.raises(UsageError, match="use hetctl's --kv-cache-dtype"):
        command(plan, "--kv-cache-dtype=fp8")


def test_other_options_go_to_vllm_as_they_are() -> None:
    found = command(plan_of("pipeline"), "--enable-lora", "--seed", "3")
    assert found.argv[-3:] == ("--enable-lora", "--seed", "3")
    with pytest.raises(UsageError, match="--dtype cannot be passed through"):
        command(plan_of("pipeline"), "--dtype", "half")
