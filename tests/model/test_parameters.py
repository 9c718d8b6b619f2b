"""Weight sizes equal those of the real ``transformers`` model, built without memory."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hetctl.model.config import read_model_spec
from hetctl.model.family_defaults import FAMILY_DEFAULTS
from hetctl.model.files import open_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SMALL_MOE = {
    **SMALL,
    "moe_intermediate_size": 24,
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 40,
}
SMALL_OPT = {
    "vocab_size": 320,
    "hidden_size": 64,
    "ffn_dim": 112,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}

SMALL_MLA = {
    **SMALL,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "kv_lora_rank": 32,
    "q_lora_rank": 48,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 8,
    "v_head_dim": 20,
    "n_group": 1,
    "topk_group": 1,
}

CASES: dict[str, dict[str, Any]] = {
    "llama gqa": {"model_type": "llama", **SMALL},
    "llama mha": {"model_type": "llama", **SMALL, "num_key_value_heads": None},
    "llama mqa": {"model_type": "llama", **SMALL, "num_key_value_heads": 1},
    "llama tied": {"model_type": "llama", **SMALL, "tie_word_embeddings": True},
    "llama biases": {"model_type": "llama", **SMALL, "attention_bias": True, "mlp_bias": True},
    "llama wide heads": {"model_type": "llama", **SMALL, "head_dim": 32},
    "mistral": {"model_type": "mistral", **SMALL, "sliding_window": 64},
    "mixtral": {"model_type": "mixtral", **SMALL, "num_local_experts": 5},
    "qwen2": {"model_type": "qwen2", **SMALL},
    "qwen2 tied": {"model_type": "qwen2", **SMALL, "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", **SMALL},
    "qwen3 biases": {"model_type": "qwen3", **SMALL, "attention_bias": True, "head_dim": 24},
    "qwen2_moe": {"model_type": "qwen2_moe", **SMALL_MOE},
    "qwen2_moe no bias": {"model_type": "qwen2_moe", **SMALL_MOE, "qkv_bias": False},
    "qwen2_moe sparse": {"model_type": "qwen2_moe", **SMALL_MOE, "decoder_sparse_step": 2},
    "qwen3_moe": {"model_type": "qwen3_moe", **SMALL_MOE},
    "qwen3_moe dense first": {"model_type": "qwen3_moe", **SMALL_MOE, "mlp_only_layers": [0]},
    "gemma": {"model_type": "gemma", **SMALL, "head_dim": 32},
    "gemma biases": {"model_type": "gemma", **SMALL, "attention_bias": True},
    "gemma2": {"model_type": "gemma2", **SMALL, "head_dim": 32},
    "gemma3_text": {"model_type": "gemma3_text", **SMALL, "head_dim": 32},
    "gemma3_text untied": {"model_type": "gemma3_text", **SMALL, "tie_word_embeddings": False},
    "opt": {"model_type": "opt", **SMALL_OPT},
    "opt projected": {"model_type": "opt", **SMALL_OPT, "word_embed_proj_dim": 32},
    "opt post-norm": {"model_type": "opt", **SMALL_OPT, "do_layer_norm_before": False},
    "opt bare": {
        "model_type": "opt",
        **SMALL_OPT,
        "enable_bias": False,
        "layer_norm_elementwise_affine": False,
        "tie_word_embeddings": False,
    },
    "phi3": {"model_type": "phi3", **SMALL},
    "deepseek_v2": {"model_type": "deepseek_v2", **SMALL_MLA},
    "deepseek_v2 whole queries": {"model_type": "deepseek_v2", **SMALL_MLA, "q_lora_rank": None},
    "deepseek_v2 biases": {"model_type": "deepseek_v2", **SMALL_MLA, "attention_bias": True},
    "deepseek_v3": {"model_type": "deepseek_v3", **SMALL_MLA, "first_k_dense_replace": 1},
    "deepseek_v3 dense": {"model_type": "deepseek_v3", **SMALL_MLA, "first_k_dense_replace": 3},
}


def model_folder(folder: Path, config: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def parts_of_real_model(config: dict[str, Any]) -> dict[str, int]:
    """Parameters of the model that transformers builds: per layer, embedding, the rest."""
    arguments = {key: value for key, value in config.items() if key != "model_type"}
    real = transformers.AutoConfig.for_model(config["model_type"], **arguments)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(real)
    parts: dict[str, int] = {"embedding": 0, "head": 0}
    # Buffers to transformers, parameters to vLLM, and saved by both.
    corrections = [b for b in model.named_buffers() if b[0].endswith("e_score_correction_bias")]
    for name, parameter in (*model.named_parameters(), *corrections):  # tied ones are named once
        if ".layers." in name:
            key = name.split(".layers.")[1].split(".")[0]
        elif "embed" in name or "project_in" in name:
            key = "embedding"
        else:
            key = "head"
        parts[key] = parts.get(key, 0) + parameter.numel()
    return parts


@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
def test_every_part_weighs_what_the_real_model_weighs(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    spec = read_model_spec(model_folder(tmp_path, config), dtype="float32")
    real = parts_of_real_model(config)

    layers = [(layer.weight_bytes - layer.derived_bytes) // 4 for layer in spec.layers]
    assert layers == [real[str(i)] for i in range(len(layers))]
    assert spec.embedding_bytes // 4 == real["embedding"]
    assert (spec.head_bytes - spec.tied_bytes) // 4 == real["head"]
    assert spec.parameters == sum(real.values())
    derived = sum(layer.derived_bytes for layer in spec.layers)
    assert spec.weight_bytes == 4 * spec.parameters + derived


@pytest.mark.parametrize("config", CASES.values(), ids=CASES.keys())
def test_every_tensor_of_a_saved_checkpoint_is_counted_to_the_byte(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    arguments = {key: value for key, value in config.items() if key != "model_type"}
    real = transformers.AutoConfig.for_model(config["model_type"], **arguments)
    built = transformers.AutoModelForCausalLM.from_config(real, dtype=torch.bfloat16)
    built.save_pretrained(tmp_path)
    tensors = open_model(str(tmp_path)).tensors()
    assert tensors is not None
    layers: dict[int, int] = {}
    for name, tensor in tensors.items():
        found = re.search(r"\.layers\.(\d+)\.", name)
        if found:
            layers[int(found[1])] = layers.get(int(found[1]), 0) + tensor.size_bytes
    spec = read_model_spec(str(tmp_path))
    assert spec.dtype == "bfloat16"
    assert [layer.weight_bytes - layer.derived_bytes for layer in spec.layers] == [
        layers[i] for i in range(len(spec.layers))
    ]
    # A tied matrix is stored once.
    derived = sum(layer.derived_bytes for layer in spec.layers)
    assert spec.weight_bytes - derived == sum(tensor.size_bytes for tensor in tensors.values())


SMALL_VISION = {
    "qwen2_vl": {"depth": 1, "embed_dim": 32, "hidden_size": 64, "num_heads": 2},
    "qwen2_5_vl": {"depth": 1, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2},
    "qwen3_vl": {"depth": 1, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2},
}


@pytest.mark.parametrize(
    ("family", "flat"),
    [
        ("qwen2_vl", False),
        ("qwen2_vl", True),
        ("qwen2_5_vl", False),
        ("qwen2_5_vl", True),
        ("qwen3_vl", False),
    ],
)
def test_the_text_part_of_a_model_with_vision_is_counted_to_the_byte(
    tmp_path: Path, family: str, flat: bool
) -> None:
    text = {key: value for key, value in SMALL.items() if not key.endswith("token_id")}
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4}
    text |= {"rope_parameters": rope, "head_dim": 16, "pad_token_id": None}
    config = transformers.AutoConfig.for_model(
        family, text_config=text, vision_config=SMALL_VISION[family], tie_word_embeddings=False
    )
    built = transformers.AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    built.save_pretrained(tmp_path)
    if flat:
        saved = json.loads((tmp_path / "config.json").read_text())
        model_folder(tmp_path, {**saved, **saved.pop("text_config"), "model_type": family})
    tensors = open_model(str(tmp_path)).tensors()
    assert tensors is not None
    spec = read_model_spec(str(tmp_path))
    in_text = {n: t.size_bytes for n, t in tensors.items() if "visual." not in n}
    assert spec.weight_bytes == sum(in_text.values()) < sum(t.size_bytes for t in tensors.values())
    for i, layer in enumerate(spec.layers):
        assert layer.weight_bytes == sum(v for n, v in in_text.items() if f".layers.{i}." in n)
    assert any("only its text part is planned" in note for note in spec.notes)


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe", "qwen3_moe dense first", "deepseek_v2"])
def test_a_token_passes_its_own_experts_only(tmp_path: Path, name: str) -> None:
    config = CASES[name]
    spec = read_model_spec(model_folder(tmp_path, config), dtype="float32")
    # A model with as many experts as a token passes has only active parameters, and its
    # router is narrower by the experts that are gone.
    keys = ("num_experts", "num_local_experts", "n_routed_experts")
    total = next(config[key] for key in keys if key in config)
    used = config.get("num_experts_per_tok", 2)
    fewer = {**config, **{key: used for key in keys if key in config}}
    router = (total - used) * config["hidden_size"]
    real = parts_of_real_model(fewer)
    for i, layer in enumerate(spec.layers):
        expected = real[str(i)] + (router if layer.experts else 0)
        assert layer.decode_weight_bytes == 4 * expected


@pytest.mark.parametrize("family", FAMILY_DEFAULTS)
def test_defaults_are_those_of_the_config_class(family: str) -> None:
    real = transformers.AutoConfig.for_model(family)
    for key, value in FAMILY_DEFAULTS[family].items():
        if key == "sliding_window" and FAMILY_DEFAULTS[family].get("use_sliding_window") is False:
            continue  # The class resets the window when it is switched off.
        assert getattr(real, key) == value, key


@pytest.mark.parametrize("family", FAMILY_DEFAULTS)
def test_an_empty_config_is_the_class_defaults(tmp_path: Path, family: str) -> None:
    spec = read_model_spec(model_folder(tmp_path, {"model_type": family}), dtype="float32")
    assert spec.parameters == sum(parts_of_real_model({"model_type": family}).values())
