"""Reading a model: dtype, context, windows, stored sizes, and what is refused."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hetctl.errors import UsageError
from hetctl.model.config import read_model_spec

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 112,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}


def write_model(folder: Path, config: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    """A file with only a header: name -> safetensors dtype, shape, bytes per element."""
    header, end = {}, 0
    for name, (dtype, shape, width) in tensors.items():
        size = width
        for extent in shape:
            size *= extent
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize(
    ("stored", "requested", "expected"),
    [
        ("bfloat16", "auto", "bfloat16"),
        ("float16", "auto", "float16"),
        ("float32", "auto", "bfloat16"),
        (None, "auto", "bfloat16"),
        ("torch.float16", "auto", "float16"),
        ("bfloat16", "float32", "float32"),
        ("bfloat16", "half", "float16"),
    ],
)
def test_dtype_is_the_one_that_vllm_takes(
    tmp_path: Path, stored: str | None, requested: str, expected: str
) -> None:
    spec = read_model_spec(write_model(tmp_path, {**LLAMA, "torch_dtype": stored}), requested)
    assert spec.dtype == expected


def test_downcasting_float32_is_noted(tmp_path: Path) -> None:
    spec = read_model_spec(write_model(tmp_path, {**LLAMA, "torch_dtype": "float32"}))
    assert "float32" in spec.notes[0]
    assert "bfloat16" in spec.notes[0]


def test_float16_is_refused_where_vllm_refuses_it(tmp_path: Path) -> None:
    model = write_model(tmp_path, {**LLAMA, "model_type": "gemma2", "torch_dtype": "bfloat16"})
    with pytest.raises(UsageError, match="unstable in float16"):
        read_model_spec(model, "float16")


def test_float16_gemma_falls_back_to_bfloat16(tmp_path: Path) -> None:
    model = write_model(tmp_path, {**LLAMA, "model_type": "gemma2", "torch_dtype": "float16"})
    spec = read_model_spec(model)
    assert spec.dtype == "bfloat16"
    assert "float16" in spec.notes[0]


def test_dtype_is_read_from_the_weights_where_the_config_is_silent(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "torch_dtype"}
    write_safetensors(tmp_path / "model.safetensors", {"x": ("F16", [2], 2)})
    assert read_model_spec(write_model(tmp_path, config)).dtype == "float16"


def test_kv_cache_of_a_token(tmp_path: Path) -> None:
    spec = read_model_spec(write_model(tmp_path, LLAMA))
    assert spec.layers[0].kv_bytes_per_token == 2 * 2 * 16 * 2  # K and V, heads, width, bf16


@pytest.mark.parametrize(
    ("rope", "limit", "default"),
    [
        ({}, 4096, None),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 8192, None),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 4096, None),
        (
            {
                "rope_scaling": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 2048,
                }
            },
            8192,
            None,
        ),
        (
            {
                "rope_scaling": {"type": "longrope", "factor": 32.0},
                "original_max_position_embeddings": 1024,
            },
            4096,
            1024,
        ),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 4096, None),
    ],
)
def test_context_follows_vllms_reading_of_rope(
    tmp_path: Path, rope: dict[str, Any], limit: int, default: int | None
) -> None:
    spec = read_model_spec(write_model(tmp_path, {**LLAMA, **rope}))
    assert (spec.max_model_len, spec.default_model_len) == (limit, default)


@pytest.mark.parametrize(
    ("change", "windows"),
    [
        ({"model_type": "mistral", "sliding_window": 128}, (128, 128, 128)),
        ({"model_type": "mistral", "sliding_window": None}, (None, None, None)),
        ({"model_type": "qwen2", "sliding_window": 128}, (None, None, None)),
        ({"model_type": "gemma2", "sliding_window": 128}, (128, None, 128)),
        (
            {"model_type": "gemma3_text", "sliding_window": 128, "sliding_window_pattern": 3},
            (128, 128, None),
        ),
    ],
)
def test_sliding_windows_per_layer(
    tmp_path: Path, change: dict[str, Any], windows: tuple[int | None, ...]
) -> None:
    spec = read_model_spec(write_model(tmp_path, {**LLAMA, "num_hidden_layers": 3, **change}))
    assert tuple(layer.sliding_window for layer in spec.layers) == windows


def test_the_text_part_of_a_multimodal_model_is_planned_with_a_note(tmp_path: Path) -> None:
    text = {key: LLAMA[key] for key in LLAMA if key not in ("architectures", "torch_dtype")}
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "torch_dtype": "float16",
        "text_config": text,
        "vision_config": {"hidden_size": 8},
    }
    spec = read_model_spec(write_model(tmp_path, config))
    assert (len(spec.layers), spec.dtype) == (2, "float16")
    assert "only its text part is planned" in spec.notes[0]


def quantised_layer(index: int) -> dict[str, tuple[str, list[int], int]]:
    return {
        f"model.layers.{index}.mlp.down_proj.qweight": ("I32", [100], 4),
        f"model.layers.{index}.mlp.down_proj.scales": ("F16", [10], 2),
    }


def test_a_quantised_checkpoint_weighs_what_its_headers_say(tmp_path: Path) -> None:
    write_safetensors(
        tmp_path / "model.safetensors",
        {
            **quantised_layer(0),
            **quantised_layer(1),
            "model.embed_tokens.weight": ("F16", [320, 64], 2),
            "lm_head.weight": ("F16", [320, 64], 2),
            "model.norm.weight": ("F16", [64], 2),
            # A layer behind the last: only speculative decoding loads it.
            "model.layers.2.embed_tokens.weight": ("F16", [320, 64], 2),
            "model.layers.2.shared_head.head.weight": ("F16", [320, 64], 2),
        },
    )
    config = {**LLAMA, "quantization_config": {"quant_method": "gptq"}}
    spec = read_model_spec(write_model(tmp_path, config))
    assert [layer.weight_bytes for layer in spec.layers] == [420, 420]
    assert spec.embedding_bytes == 320 * 64 * 2
    assert spec.head_bytes == 320 * 64 * 2 + 128
    assert spec.source == "safetensors index"
    assert spec.notes


@pytest.mark.parametrize(("bits", "runs"), [(4, True), (8, False)])
def test_a_quantised_checkpoint_tells_whether_cpu_ranks_can_run_it(
    tmp_path: Path, bits: int, runs: bool
) -> None:
    index = {"metadata": {"total_size": 200_000}, "weight_map": {"x": "not-here.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": bits}}
    spec = read_model_spec(write_model(tmp_path, config))
    assert (spec.cpu_refusal is None) == runs
    assert runs or "is quantised as 8-bit GPTQ, which CPU ranks cannot run" in spec.notes[-1]


@pytest.mark.parametrize(
    ("scheme", "block"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, (1, 128)),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64}, (1, 64)),
        ({"quant_method": "gptq", "bits": 4, "group_size": -1}, None),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, (128, 128)),
        ({"quant_method": "fp8"}, None),
        ({"config_groups": {"group_0": {"weights": {"group_size": 32}}}}, (1, 32)),
        ({"config_groups": {"g": {"weights": {"block_structure": [64, 128]}}}}, (64, 128)),
        ({"config_groups": {"g": {"weights": {"group_size": None}}}}, None),
    ],
)
def test_what_shares_a_scale_is_read(
    tmp_path: Path, scheme: dict[str, object], block: tuple[int, int] | None
) -> None:
    index = {"metadata": {"total_size": 200_000}, "weight_map": {"x": "not-here.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    spec = read_model_spec(write_model(tmp_path, {**LLAMA, "quantization_config": scheme}))
    assert spec.scale_block == block


def test_a_size_of_groups_that_is_none_is_refused(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 200_000}, "weight_map": {"x": "not-here.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    scheme = {"quant_method": "awq", "group_size": "many"}
    with pytest.raises(UsageError, match=r"\(1, 'many'\) is not how many"):
        read_model_spec(write_model(tmp_path, {**LLAMA, "quantization_config": scheme}))


def test_a_quantised_checkpoint_with_an_index_only_spreads_its_total(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 200_000}, "weight_map": {"x": "not-here.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {**LLAMA, "quantization_config": {"quant_method": "awq"}}
    spec = read_model_spec(write_model(tmp_path, config))
    assert spec.weight_bytes == pytest.approx(200_000, abs=2)


def test_a_quantised_checkpoint_without_headers_is_refused(tmp_path: Path) -> None:
    config = {**LLAMA, "quantization_config": {"quant_method": "awq"}}
    with pytest.raises(UsageError, match="quantised and has no safetensors"):
        read_model_spec(write_model(tmp_path, config))


def test_an_unknown_architecture_is_sized_from_its_tensors(tmp_path: Path) -> None:
    config = {**LLAMA, "model_type": "novel", "architectures": ["NovelForCausalLM"]}
    write_safetensors(
        tmp_path / "model.safetensors",
        {
            "model.layers.0.w": ("BF16", [1000], 2),
            "model.layers.1.w": ("BF16", [3000], 2),
            "model.embed_tokens.weight": ("BF16", [320, 64], 2),
            "lm_head.weight": ("BF16", [320, 64], 2),
        },
    )
    spec = read_model_spec(write_model(tmp_path, config), "float32")
    assert [layer.weight_bytes for layer in spec.layers] == [4000, 12000]
    assert spec.parameters == 4000 + 2 * 320 * 64
    assert "does not know NovelForCausalLM" in spec.notes[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"kv_lora_rank": 512},
        {"quantization_config": {"quant_method": "fp8"}},
        {"hidden_size": None},
    ],
)
def test_an_unknown_architecture_that_cannot_be_sized_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    config = {**LLAMA, "model_type": "novel", **change}
    write_safetensors(tmp_path / "model.safetensors", {"model.layers.0.w": ("BF16", [9], 2)})
    with pytest.raises(UsageError, match=r"cannot size .*Llama, Mistral"):
        read_model_spec(write_model(tmp_path, config))


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UsageError, match=r"no folder \./nowhere"):
        read_model_spec("./nowhere")


def test_an_unreachable_hub_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="cannot be reached") as caught:
        read_model_spec("hetctl-tests/no-such-model")
    assert "\n" not in str(caught.value)


def test_a_hub_that_refuses_connections_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as bound:  # and not listening: connections are refused
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        command = "from hetctl.model.config import read_model_spec as read; read('org/none')"
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", command],
            env=os.environ
            | {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path)}
            | {"HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            capture_output=True,
            text=True,
        )
    assert (
        "UsageError: There is no folder org/none, and the Hugging Face hub cannot be"
        in (done.stderr.splitlines()[-1])
    )
    assert time.monotonic() - started < 10


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"without config\.json"):
        read_model_spec(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"config\.json"):
        read_model_spec(str(tmp_path))


@pytest.mark.parametrize("change", [{"num_attention_heads": 0}, {"hidden_size": "wide"}])
def test_impossible_sizes_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="not a valid llama config"):
        read_model_spec(write_model(tmp_path, {**LLAMA, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"architectures": 7, "model_type": None},
        {"num_hidden_layers": 10**12, "sliding_window": 7},
        {"hidden_size": 10**300},
        {"max_position_embeddings": float("inf")},
        {"rope_scaling": {"rope_type": "yarn", "factor": "much"}},
        {"sliding_window": -1},
    ],
    ids=str,
)
def test_what_no_config_holds_is_refused_in_one_sentence(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"config\.json|cannot size") as caught:
        read_model_spec(write_model(tmp_path, {**LLAMA, **change}))
    assert "\n" not in str(caught.value)


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x10")
    config = {**LLAMA, "quantization_config": {"quant_method": "fp8"}}
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_model_spec(write_model(tmp_path, config))
