"""Small random models in the real layout of their families, written by ``transformers``.

Weights are scaled so that every layer decides the output: a model whose residual stream is
mostly its input embedding would repeat the last token whatever its layers do, and a test
that compares tokens could not fail.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

LAYERS = 4
VOCABULARY = 512
WINDOW = 32
LARGE = "llama-large"

_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
_ALTERNATING = ["sliding_attention", "full_attention"] * (LAYERS // 2)


def _llama() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_COMMON)


def _large_llama() -> Any:
    from transformers import LlamaConfig

    # Matrices of 8 MiB and more, as tests/e2e/loaded_bytes.py wants them.
    large = {"hidden_size": 1024, "intermediate_size": 2048, "head_dim": 256}
    return LlamaConfig(**{**_COMMON, **large})


def _qwen2() -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(**_COMMON, tie_word_embeddings=True)


def _qwen3() -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(**_COMMON, tie_word_embeddings=True)


def _mistral() -> Any:
    from transformers import MistralConfig

    return MistralConfig(**_COMMON, sliding_window=WINDOW)


def _gemma2() -> Any:
    from transformers import Gemma2Config

    # Both soft caps are low enough to bend these models' logits.
    return Gemma2Config(
        **_COMMON,
        sliding_window=WINDOW,
        layer_types=_ALTERNATING,
        query_pre_attn_scalar=32,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
    )


def _gemma3() -> Any:
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(
        **_COMMON, sliding_window=WINDOW, layer_types=_ALTERNATING, query_pre_attn_scalar=32
    )


def _gemma3_with_vision() -> Any:
    from transformers import Gemma3Config

    return Gemma3Config(
        text_config=_gemma3().to_dict(),
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        image_token_index=VOCABULARY - 1,
    )


def _opt() -> Any:
    from transformers import OPTConfig

    return OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        word_embed_proj_dim=64,
        ffn_dim=256,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        max_position_embeddings=1024,
    )


def _qwen3_moe() -> Any:
    from transformers import Qwen3MoeConfig

    return Qwen3MoeConfig(**_COMMON, **_EXPERTS)


CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    LARGE: _large_llama,
    "qwen2-tied": _qwen2,
    "qwen3-tied": _qwen3,
    "mistral": _mistral,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "gemma3-with-vision": _gemma3_with_vision,
    "opt": _opt,
    "qwen3-moe": _qwen3_moe,
}


MULTIMODAL = ("gemma3-with-vision",)


def write_random_model(family: str, folder: Path) -> Path:
    """Write ``family``'s model with seeded float32 weights; the same at every call."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    config = CONFIGS[family]()
    config.dtype = torch.float32
    auto = AutoModelForImageTextToText if family in MULTIMODAL else AutoModelForCausalLM
    model = auto.from_config(config)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_random(name, parameter.shape, generator))
    model.save_pretrained(folder)
    return folder


def _random(name: str, shape: Any, generator: Any) -> Any:
    import torch

    values = torch.randn(shape, generator=generator)
    if "embed" in name or name.endswith("bias"):
        return 0.02 * values
    if len(shape) == 1:
        # Norms away from 1, where one that is not loaded would hide.
        return 1 + 0.3 * values
    if "fc2" in name:
        # The mean of a ReLU's outputs would point all tokens in one direction.
        values -= values.mean(-1, keepdim=True)
    return values * 2 / shape[-1] ** 0.5
