"""Tensor-parallel groups that mix GPUs and CPUs, and pipelines under them."""

from pathlib import Path

import pytest

from tests.e2e.engine import shared_memory
from tests.e2e.tensor_parallel import engine_tokens
from vllm_hetero.rank_map import Rank, RankMap

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu_tokens(
    demo_model: Path, prompts: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> list[list[int]]:
    """What one GPU says; the demo model's choices leave rounding no say."""
    folder = tmp_path_factory.mktemp("gpu")
    return engine_tokens(demo_model, prompts, folder, tensor=1, dtype="bfloat16")


def mapped(*devices: str) -> dict[str, str]:
    ranks = tuple(Rank(i, device) for i, device in enumerate(devices))
    return {"VLLM_HETERO_RANK_MAP": RankMap(ranks).to_json()}


@pytest.mark.parametrize("devices", [("cuda:0", "cpu"), ("cpu", "cuda:0")], ids=",".join)
def test_one_gpu_and_one_cpu_rank(
    devices: tuple[str, ...],
    demo_model: Path,
    prompts: list[list[int]],
    gpu_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    before = shared_memory()
    tokens = engine_tokens(
        demo_model, prompts, tmp_path, tensor=2, dtype="bfloat16", env=mapped(*devices)
    )
    assert tokens == gpu_tokens
    assert shared_memory() - before == set()


@pytest.mark.parametrize(
    ("tensor", "pipeline"),
    [(4, 1), (1, 3)],
    ids=["vLLM Hybrid's example: 2 GPUs and 2 CPU ranks in one group", "NCCL, then a CPU stage"],
)
def test_two_gpus_with_the_default_rank_map(
    tensor: int,
    pipeline: int,
    gpus: int,
    demo_model: Path,
    prompts: list[list[int]],
    gpu_tokens: list[list[int]],
    tmp_path: Path,
) -> None:
    if gpus < 2:
        pytest.skip("needs two GPUs")
    tokens = engine_tokens(
        demo_model, prompts, tmp_path, tensor=tensor, pipeline=pipeline, dtype="bfloat16"
    )
    assert tokens == gpu_tokens
