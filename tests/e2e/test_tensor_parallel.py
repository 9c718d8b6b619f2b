"""Tensor parallelism over CPU ranks, alone, under a pipeline, and through the bridge."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from tests.e2e.engine import shared_memory
from tests.e2e.tensor_parallel import TOKENS

pytestmark = pytest.mark.engine

DRIVER = Path(__file__).parent / "tensor_parallel.py"

# Without a GPU no group mixes devices. This plugin has the engine take tensor-parallel rank 0
# for the member of another device class, so that all collectives cross the bridge, while both
# compute on the CPU. Rank 1 also samples other tokens than rank 0, as a device with another
# random generator does.
PRETEND = """
def register():
    from vllm_hetero import env
    if env.role() != "cpu":
        return
    from vllm_hetero.groups import HeterogeneousGroupCoordinator as Group
    on_cpu, mixes = Group.on_cpu, Group._mixes

    def is_tp(group):
        return group.unique_name.startswith("tp") and group.world_size > 1

    Group.on_cpu = lambda self, member: member != 0 if is_tp(self) else on_cpu(self, member)
    Group.is_mixed = property(is_tp)

    from vllm.distributed import get_tp_group
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner
    sample = CPUModelRunner._sample

    def other_tokens(self, *args, **kwargs):
        output = sample(self, *args, **kwargs)
        output.sampled_token_ids += get_tp_group().rank_in_group
        return output

    CPUModelRunner._sample = other_tokens
"""


@pytest.fixture(scope="module")
def pretend_mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``PYTHONPATH`` that holds the plugin."""
    folder = tmp_path_factory.mktemp("plugin")
    info = folder / "pretend_mixed-1.0.dist-info"
    info.mkdir()
    (folder / "pretend_mixed.py").write_text(textwrap.dedent(PRETEND))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pretend-mixed\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vllm.general_plugins]\npretend_mixed = pretend_mixed:register\n"
    )
    return folder


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


@pytest.mark.parametrize(
    ("tensor", "pipeline", "mixed"),
    [(2, 2, False), (2, 1, True)],
    ids=["two stages of two ranks", "through the bridge"],
)
def test_tensor_parallel_ranks_give_the_model_s_tokens(
    tensor: int,
    pipeline: int,
    mixed: bool,
    demo_model: Path,
    prompts: list[list[int]],
    expected: list[list[int]],
    pretend_mixed: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "tokens.json"
    before = shared_memory()
    path = [str(pretend_mixed)] if mixed else []
    path += [entry for entry in os.environ.get("PYTHONPATH", "").split(":") if entry]
    run = subprocess.run(
        [sys.executable, str(DRIVER), str(demo_model), str(tensor), str(pipeline), str(out)],
        input=json.dumps(prompts),
        capture_output=True,
        text=True,
        timeout=400,
        env={
            **os.environ,
            "VLLM_HETEROGENEOUS_PLATFORM": "1",
            "VLLM_HETERO_CPU_KV_CACHE_BYTES": str(256 << 20),
            "PYTHONPATH": ":".join(path),
        },
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert json.loads(out.read_text()) == expected
    assert shared_memory() - before == set()
