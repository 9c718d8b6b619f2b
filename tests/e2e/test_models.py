"""Every family gives the same greedy tokens on one CPU rank and on a pipeline of two."""

import json
import random
import struct
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import loaded_bytes, quantised_models, random_models
from tests.e2e.offline import Job, answers, split_environment, unsplit_environment
from tests.e2e.quantised_models import write_quantised_llama
from tests.e2e.random_models import write_random_model

# The first test waits for all engines.
pytestmark = [pytest.mark.engine, pytest.mark.patient, pytest.mark.timeout(1200)]

# The stages are unlike, and the first holds a layer with a sliding window only.
STAGES = (1, 3)
# The small Llama is for the engines that do not start.
FAMILIES = tuple(name for name in random_models.CONFIGS if name != "llama")
SCHEMES = ("compressed-tensors", "gptq", "awq")
DTYPES = {"compressed-tensors": "bfloat16"}
# Of a model, what its engine is asked for, and the reason that it gives.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "speculative": (
        "llama",
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 2}},
        "speculative decoding is not supported in a heterogeneous run",
    ),
    "pooling": (
        "llama",
        {"runner": "pooling"},
        "a model for pooling (--runner pooling) is not supported in a heterogeneous run",
    ),
    "vision": (
        "gemma3-with-vision",
        {"language_model_only": False},
        "input other than text (add --language-model-only to serve the text part) is not",
    ),
    "online-quantisation": (
        "llama",
        {"quantization": "fp8_per_tensor", "dtype": "bfloat16"},
        "cannot run on CPU ranks: it would be quantised while loading",
    ),
    "gptq-8bit": ("gptq-8bit", {}, "it is quantised as 8-bit GPTQ, which CPU ranks cannot run"),
    "fp8": ("fp8", {}, "it is quantised as fp8, which CPU ranks cannot run"),
}
TOKENS = 24
# What the kernel maps around each end of a run of tensors.
READ_AROUND_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Matrix:
    """All models' answers; of a model that failed, the error."""

    models: dict[str, Path]
    unsplit: dict[str, Any]
    split: dict[str, Any]
    loaded: Path


def prompts() -> list[list[list[int]]]:
    """Rounds of prompts: shorter and longer than the windows and the KV-cache blocks; the
    second round shares a prefix with the first."""
    draw = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(3, random_models.VOCABULARY) for _ in range(count)]

    shared = tokens(140)
    return [[tokens(3), tokens(17), shared + tokens(5), tokens(70)], [shared + tokens(40)]]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    from vllm_hetero.kernels import ensure_kernels

    ensure_kernels()
    folder = tmp_path_factory.mktemp("models")
    models = {name: write_random_model(name, folder / name) for name in random_models.CONFIGS} | {
        name: write_quantised_llama(name, folder / name) for name in quantised_models.CONFIGS
    }
    rounds, parallel = prompts(), {"pipeline_parallel_size": len(STAGES)}

    def job(name: str, **engine: Any) -> Job:
        plain = name in random_models.CONFIGS
        usual = DTYPES.get(name, "float32" if plain else "float16")
        dtype = engine.pop("dtype", usual)
        if name in random_models.MULTIMODAL:
            engine = {"language_model_only": True, **engine}
        return Job(models[name], rounds, TOKENS, dtype, engine)

    runs = [*FAMILIES, *SCHEMES]
    refused = {
        name: job(model, **parallel, **engine) for name, (model, engine, _) in REFUSED.items()
    }
    loaded = folder / "loaded"
    return Matrix(
        models,
        unsplit=answers({name: job(name) for name in runs}, unsplit_environment(), folder / "one"),
        split=answers(
            refused | {name: job(name, **parallel) for name in runs},
            {**split_environment(STAGES), **loaded_bytes.environment(loaded)},
            folder / "two",
        ),
        loaded=loaded,
    )


@pytest.mark.parametrize("name", [*FAMILIES, *SCHEMES])
def test_a_split_changes_no_token(matrix: Matrix, name: str) -> None:
    unsplit, split = matrix.unsplit[name], matrix.split[name]
    assert "error" not in unsplit
    assert "error" not in split
    # Quantised models run in float16 or bfloat16.
    tolerance = 1e-3 if name in FAMILIES else 2e-2
    for alone, together in zip(chain(*unsplit), chain(*split), strict=True):
        assert len(alone["tokens"]) == TOKENS
        assert together["tokens"] == alone["tokens"]
        assert together["logprobs"] == pytest.approx(alone["logprobs"], abs=tolerance)
    # Otherwise the comparison above could not fail.
    answered = {tuple(answer["tokens"]) for answer in chain(*unsplit)}
    assert len(answered) == 5
    assert all(len(set(tokens)) > 5 for tokens in answered)


@pytest.mark.parametrize("name", [*FAMILIES, *SCHEMES])
def test_a_shared_prefix_is_read_from_the_cache(matrix: Matrix, name: str) -> None:
    first, second = matrix.split[name]
    assert [answer["cached"] for answer in first] == [0, 0, 0, 0]
    assert [answer["cached"] for answer in second] == [128]


def test_a_rank_reads_only_the_tensors_that_it_owns(matrix: Matrix) -> None:
    model = matrix.models[random_models.LARGE]
    owned, read = owned_bytes(model), loaded_bytes.loaded_bytes(matrix.loaded, model)
    assert sorted(read) == [0, 1]
    for rank, count in enumerate(owned):
        assert count <= read[rank] <= count + READ_AROUND_BYTES
        assert sum(owned) - count > 2 * READ_AROUND_BYTES


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_with_its_reason(matrix: Matrix, name: str) -> None:
    assert REFUSED[name][2] in matrix.split[name]["error"]


def owned_bytes(model: Path) -> list[int]:
    """Bytes of the checkpoint that each stage of :data:`STAGES` needs."""
    content = (model / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    owned = [0] * len(STAGES)
    for name, tensor in json.loads(content[8 : 8 + size]).items():
        if name != "__metadata__":
            first, end = tensor["data_offsets"]
            owned[_owner(name)] += end - first
    return owned


def _owner(name: str) -> int:
    if ".layers." in name:
        layer = int(name.partition(".layers.")[2].split(".")[0])
        return next(s for s in range(len(STAGES)) if layer < sum(STAGES[: s + 1]))
    return 0 if "embed_tokens" in name else len(STAGES) - 1
