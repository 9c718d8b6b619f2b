"""What a token's KV cache takes, and where it can be."""

import json
from pathlib import Path
from typing import Any

import pytest

from hetctl.errors import UsageError
from hetctl.model.config import read_model_spec
from hetctl.model.spec import ModelSpec
from hetctl.planner.cpu_cache import cpu_cache_refusal

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "torch_dtype": "bfloat16",
}
DEEPSEEK: dict[str, Any] = {
    "model_type": "deepseek_v2",
    **{key: value for key, value in LLAMA.items() if key not in ("model_type",)},
    "num_key_value_heads": 2,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "moe_intermediate_size": 24,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}


def read(folder: Path, config: dict[str, Any], kv_cache_dtype: str = "auto") -> ModelSpec:
    (folder / "config.json").write_text(json.dumps(config))
    return read_model_spec(str(folder), kv_cache_dtype=kv_cache_dtype)


@pytest.mark.parametrize(
    ("dtype", "width"), [("auto", 2), ("fp8", 1), ("fp8_e5m2", 1), ("bfloat16", 2)]
)
def test_a_key_and_a_value_per_head(tmp_path: Path, dtype: str, width: int) -> None:
    assert read(tmp_path, LLAMA, dtype).layers[0].kv_bytes_per_token == 2 * 32 * width


@pytest.mark.parametrize(("dtype", "width"), [("auto", 2), ("fp8", 1)])
def test_latent_attention_caches_one_vector_for_all_heads(
    tmp_path: Path, dtype: str, width: int
) -> None:
    spec = read(tmp_path, DEEPSEEK, dtype)
    assert {layer.kv_bytes_per_token for layer in spec.layers} == {(512 + 64) * width}
    assert spec.latent_cache


def test_latent_attention_is_for_gpus(tmp_path: Path) -> None:
    spec = read(tmp_path, DEEPSEEK)
    assert "MLA" in str(spec.cpu_refusal)
    assert "CPU ranks are left out" in spec.notes[-1]


@pytest.mark.parametrize(
    "scheme",
    [
        {"quant_method": "compressed-tensors", "kv_cache_scheme": {"num_bits": 8, "type": "float"}},
        {"quant_method": "modelopt", "quantization": {"kv_cache_quant_algo": "FP8"}},
    ],
)
def test_a_checkpoint_with_scales_for_its_cache_gets_it(
    tmp_path: Path, scheme: dict[str, Any]
) -> None:
    index = {"metadata": {"total_size": 200_000}, "weight_map": {"x": "not-here.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {**LLAMA, "quantization_config": scheme}
    assert read(tmp_path, config).kv_cache_dtype == "fp8"
    assert read(tmp_path, config, "bfloat16").kv_cache_dtype == "bfloat16"
    scheme = {"quant_method": "modelopt", "kv_cache_quant_algo": "NVFP4"}
    with pytest.raises(UsageError, match=r"its KV cache as 'NVFP4'.*give --kv-cache-dtype"):
        read(tmp_path, {**LLAMA, "quantization_config": scheme})


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'int4' is not one of auto, float16"):
        read(tmp_path, LLAMA, "int4")


@pytest.mark.parametrize(
    ("dtype", "heads", "isa", "why"),
    [
        ("auto", 2, (), None),
        ("fp8", 2, ("avx2", "avx512f"), None),
        ("fp8", 2, ("avx2",), "needs a CPU with AVX-512"),
        ("fp8", 4, ("avx512f",), "32 divides, and its is 16"),
        ("bfloat16", 2, ("avx512f",), "which CPU ranks have as `auto` only"),
    ],
)
def test_what_cpu_ranks_cannot_cache_is_said(
    tmp_path: Path, dtype: str, heads: int, isa: tuple[str, ...], why: str | None
) -> None:
    spec = read(tmp_path, {**LLAMA, "num_attention_heads": heads}, dtype)
    refusal = cpu_cache_refusal(spec, isa)
    assert (refusal is None) if why is None else (why in str(refusal))
