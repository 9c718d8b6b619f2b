"""The shape of a decoder-only model, read from ``config.json``.

One function per family turns the family's own keys into one :class:`DecoderShape`.
Defaults are those of the ``transformers`` config classes, because that is what vLLM
sees for a key that config.json leaves out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from hetctl.errors import UsageError
from hetctl.model.family_defaults import FAMILY_DEFAULTS


@dataclass(frozen=True, slots=True)
class Experts:
    """The mixture of experts that replaces the MLP of a layer."""

    count: int
    per_token: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    """Width of the expert that every token passes, 0 for none."""
    shared_gate: bool = False
    """Whether a gate weighs that expert."""
    score_correction: bool = False
    """Whether each expert has a bias that its choice is corrected by."""


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (MLA): keys and values share one compressed vector."""

    kv_rank: int
    q_rank: int
    """0 where queries are not compressed."""
    nope_dim: int
    rope_dim: int
    value_dim: int

    @property
    def cached(self) -> int:
        """Elements that are cached per token, whatever the number of heads."""
        return self.kv_rank + self.rope_dim


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Everything that determines the parameters of a decoder. Sizes are in elements."""

    hidden_size: int
    num_layers: int
    attention_heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    gated_mlp: bool = True
    qk_norm: bool = False
    norms_per_layer: int = 2
    norm_parameters: int = 0
    """Of one norm over the hidden size: weight, and for LayerNorm also bias."""
    has_final_norm: bool = True
    embedding_width: int = 0
    """Less than the hidden size where the embedding is projected up (OPT-350m)."""
    learned_positions: int = 0
    latent: LatentAttention | None = None
    experts: Experts | None = None
    dense_layers: frozenset[int] = frozenset()
    """Layers with a plain MLP in a model with experts."""
    sliding_windows: tuple[int | None, ...] = ()
    """Window per layer, None for full attention; empty when no layer has one."""
    embeddings_on_every_stage: bool = False


SUPPORTED = (
    "Llama, Mistral, Mixtral, Qwen2, Qwen2-MoE, Qwen3, Qwen3-MoE, Gemma 1/2/3, OPT, Phi-3, "
    "DeepSeek V2/V3"
)


def decoder_shape(config: Mapping[str, Any]) -> DecoderShape | None:
    """The shape of a text model's config; None when the family is not supported.

    Raises:
        UsageError: a key of config.json holds something that no model can have.
    """
    model_type = str(config.get("model_type"))
    family = _FAMILIES.get(model_type)
    if family is None:
        return None
    merged = {**FAMILY_DEFAULTS[model_type], **config}
    try:
        if float(merged.get("num_hidden_layers") or 0) > _MOST_LAYERS:
            raise ValueError(f"num_hidden_layers is more than {_MOST_LAYERS}")
        shape = family(merged)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise UsageError(f"config.json is not a valid {model_type} config: {error}.") from error
    _check(shape, model_type)
    return shape


_SIZES = ("hidden_size", "num_layers", "attention_heads", "kv_heads", "head_dim", "vocab_size")
_MOST_LAYERS = 10_000
_MOST = 1 << 40
"""Of anything else: a tensor of that many elements is more than any machine holds."""


def _check(shape: DecoderShape, model_type: str) -> None:
    limits = {name: (1 if name in _SIZES else 0, _MOST) for name in _counts(shape)}
    limits["num_layers"] = (1, _MOST_LAYERS)
    for name, (least, most) in limits.items():
        if not least <= (value := getattr(shape, name)) <= most:
            raise UsageError(
                f"config.json is not a valid {model_type} config: {name} is {value}, not {least} "
                f"to {most}."
            )


def _counts(shape: DecoderShape) -> list[str]:
    """The fields that are whole numbers."""
    return [field.name for field in fields(shape) if field.type is int]


def _rms_norm_decoder(config: Mapping[str, Any]) -> DecoderShape:
    """What all families but OPT share."""
    hidden = int(config["hidden_size"])
    heads = int(config["num_attention_heads"])
    layers = int(config["num_hidden_layers"])
    return DecoderShape(
        hidden_size=hidden,
        num_layers=layers,
        attention_heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        intermediate_size=int(config["intermediate_size"]),
        vocab_size=int(config["vocab_size"]),
        tied_embeddings=bool(config["tie_word_embeddings"]),
        norm_parameters=hidden,
        embedding_width=hidden,
        sliding_windows=_windows(config, layers),
    )


def _windows(config: Mapping[str, Any], layers: int) -> tuple[int | None, ...]:
    """vLLM's rule: one window for all layers, unless ``layer_types`` mixes two kinds."""
    window = config.get("sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return ()
    # Qwen: layers from max_window_layers on look back over the window. vLLM has windows on
    # all layers or refuses, so a mixed config is counted as full attention, the larger.
    if int(config.get("max_window_layers") or layers) < layers:
        return ()
    types = config.get("layer_types") or ()
    if len(set(types)) < 2:
        return (int(window),) * layers
    return tuple(int(window) if kind == "sliding_attention" else None for kind in types)


def _llama(config: Mapping[str, Any]) -> DecoderShape:
    bias = bool(config.get("attention_bias"))
    return replace(
        _rms_norm_decoder(config),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bool(config.get("mlp_bias")),
    )


def _mixtral(config: Mapping[str, Any]) -> DecoderShape:
    shape = _rms_norm_decoder(config)
    experts = Experts(
        count=int(config["num_local_experts"]),
        per_token=int(config["num_experts_per_tok"]),
        intermediate_size=shape.intermediate_size,
    )
    return replace(shape, experts=experts, embeddings_on_every_stage=True)


def _qwen2(config: Mapping[str, Any]) -> DecoderShape:
    return replace(_rms_norm_decoder(config), qkv_bias=True)


def _qwen3(config: Mapping[str, Any]) -> DecoderShape:
    return replace(_llama(config), mlp_bias=False, qk_norm=True)


def _qwen_experts(config: Mapping[str, Any], shape: DecoderShape) -> DecoderShape:
    # transformers 5 saves Qwen3's number under Mixtral's key.
    count = int(config.get("num_local_experts") or config["num_experts"])
    step = int(config["decoder_sparse_step"])
    listed = set(config.get("mlp_only_layers") or ())
    dense = {i for i in range(shape.num_layers) if i in listed or count == 0 or (i + 1) % step}
    experts = Experts(
        count=count,
        per_token=int(config["num_experts_per_tok"]),
        intermediate_size=int(config["moe_intermediate_size"]),
        shared_intermediate_size=int(config.get("shared_expert_intermediate_size") or 0),
        shared_gate=bool(config.get("shared_expert_intermediate_size")),
    )
    return replace(
        shape, experts=experts, dense_layers=frozenset(dense), embeddings_on_every_stage=True
    )


def _qwen2_moe(config: Mapping[str, Any]) -> DecoderShape:
    shape = replace(_rms_norm_decoder(config), qkv_bias=bool(config["qkv_bias"]))
    return _qwen_experts(config, shape)


def _qwen3_moe(config: Mapping[str, Any]) -> DecoderShape:
    # The config class has no shared expert; a stray key must not add one.
    return _qwen_experts({**config, "shared_expert_intermediate_size": 0}, _qwen3(config))


def _gemma(config: Mapping[str, Any]) -> DecoderShape:
    return replace(_llama(config), mlp_bias=False, embeddings_on_every_stage=True)


def _gemma2(config: Mapping[str, Any]) -> DecoderShape:
    # Every second layer, the first included, looks back over the window only.
    shape = _gemma({**config, "layer_types": _layer_types(config, pattern=2)})
    return replace(shape, norms_per_layer=4)


def _gemma3(config: Mapping[str, Any]) -> DecoderShape:
    pattern = int(config.get("sliding_window_pattern") or 6)
    shape = _gemma({**config, "layer_types": _layer_types(config, pattern)})
    return replace(shape, norms_per_layer=4, qk_norm=True)


def _layer_types(config: Mapping[str, Any], pattern: int) -> list[str]:
    """Full attention on each ``pattern``-th layer, unless the config lists the layers."""
    given = config.get("layer_types")
    if given:
        return list(given)
    count = int(config["num_hidden_layers"])
    return ["sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(count)]


def _deepseek(config: Mapping[str, Any]) -> DecoderShape:
    heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    latent = LatentAttention(
        kv_rank=int(config["kv_lora_rank"]),
        q_rank=int(config.get("q_lora_rank") or 0),
        nope_dim=int(config["qk_nope_head_dim"]),
        rope_dim=int(config["qk_rope_head_dim"]),
        value_dim=int(config["v_head_dim"]),
    )
    width = int(config["moe_intermediate_size"])
    experts = Experts(
        count=int(config["n_routed_experts"] or 0),
        per_token=int(config["num_experts_per_tok"] or 0),
        intermediate_size=width,
        shared_intermediate_size=width * int(config.get("n_shared_experts") or 0),
        score_correction=config["model_type"] == "deepseek_v3",
    )
    first, step = int(config["first_k_dense_replace"] or 0), int(config.get("moe_layer_freq") or 1)
    dense = {i for i in range(layers) if i < first or i % step or not experts.count}
    bias = bool(config["attention_bias"])
    # A query and a key have one width and a value another; all heads share one cached vector.
    shape = _rms_norm_decoder(
        {**config, "num_key_value_heads": 1, "head_dim": _mean_head_dim(latent)}
    )
    return replace(
        shape,
        attention_heads=heads,
        qkv_bias=bias,
        output_bias=bias,
        latent=latent,
        experts=experts if len(dense) < layers else None,
        dense_layers=frozenset(dense),
    )


def _mean_head_dim(latent: LatentAttention) -> int:
    return (latent.nope_dim + latent.rope_dim + latent.value_dim) // 2


def _opt(config: Mapping[str, Any]) -> DecoderShape:
    hidden = int(config["hidden_size"])
    heads = int(config["num_attention_heads"])
    bias = bool(config["enable_bias"])
    affine = bool(config["layer_norm_elementwise_affine"])
    return DecoderShape(
        hidden_size=hidden,
        num_layers=int(config["num_hidden_layers"]),
        attention_heads=heads,
        kv_heads=heads,
        head_dim=hidden // heads,
        intermediate_size=int(config["ffn_dim"]),
        vocab_size=int(config["vocab_size"]),
        tied_embeddings=bool(config["tie_word_embeddings"]),
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=bias,
        gated_mlp=False,
        norm_parameters=2 * hidden if affine else 0,
        has_final_norm=bool(config["do_layer_norm_before"])
        and not config.get("_remove_final_layer_norm"),
        embedding_width=int(config.get("word_embed_proj_dim") or hidden),
        # OPTLearnedPositionalEmbedding keeps two rows more, an offset of the original code.
        learned_positions=int(config["max_position_embeddings"]) + 2,
        embeddings_on_every_stage=True,
    )


_FAMILIES: dict[str, Callable[[Mapping[str, Any]], DecoderShape]] = {
    "llama": _llama,
    "mistral": _rms_norm_decoder,
    "mixtral": _mixtral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen2_moe": _qwen2_moe,
    "qwen3_moe": _qwen3_moe,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "opt": _opt,
    "phi3": _rms_norm_decoder,
}
