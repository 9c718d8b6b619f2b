"""Tensor parallelism over CPU ranks, under a pipeline, and through the bridge."""

import os
from pathlib import Path

import pytest
import torch

from tests.e2e.engine import shared_memory
from tests.e2e.rank_plugin import rank_plugin
from tests.e2e.tensor_parallel import TOKENS, engine_tokens

pytestmark = pytest.mark.engine

# Without a GPU no group mixes devices. This plugin has the engine take tensor-parallel rank 0
# for the member of another device class, so that all collectives cross the bridge, while both
# compute on the CPU. Rank 1 also samples other tokens than rank 0, as a device with another
# random generator does.
PRETEND = """
from vllm.distributed import get_tp_group
from vllm.v1.worker.cpu_model_runner import CPUModelRunner
from vllm_hetero.groups import HeterogeneousGroupCoordinator as Group

on_cpu, sample = Group.on_cpu, CPUModelRunner._sample

def is_tp(group):
    return group.unique_name.startswith("tp") and group.world_size > 1

def other_tokens(self, *args, **kwargs):
    output = sample(self, *args, **kwargs)
    output.sampled_token_ids += get_tp_group().rank_in_group
    return output

Group.on_cpu = lambda self, member: member != 0 if is_tp(self) else on_cpu(self, member)
Group.is_mixed = property(is_tp)
CPUModelRunner._sample = other_tokens
"""


@pytest.fixture(scope="module")
def expected(demo_model: Path, prompts: list[list[int]]) -> list[list[int]]:
    """What the model says in Hugging Face's implementation."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    texts = []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(ids, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
        texts.append(out[0, len(prompt) :].tolist())
    return texts


def test_two_stages_of_two_ranks(
    demo_model: Path, prompts: list[list[int]], expected: list[list[int]], tmp_path: Path
) -> None:
    before = shared_memory()
    # Offloading is for GPU ranks: CPU ranks leave it alone.
    tokens = engine_tokens(
        demo_model, prompts, tmp_path, tensor=2, pipeline=2, offload_group_size=2
    )
    assert tokens == expected
    assert shared_memory() - before == set()


def test_two_ranks_that_only_the_bridge_connects(
    demo_model: Path, prompts: list[list[int]], expected: list[list[int]], tmp_path: Path
) -> None:
    before = shared_memory()
    plugin = rank_plugin(tmp_path, PRETEND).env["PYTHONPATH"]
    env = {"PYTHONPATH": f"{plugin}:{os.environ.get('PYTHONPATH', '')}"}
    assert engine_tokens(demo_model, prompts, tmp_path, tensor=2, env=env) == expected
    assert shared_memory() - before == set()
