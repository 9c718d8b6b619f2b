"""``config.json`` -> :class:`~hetctl.model.spec.ModelSpec`.

A supported architecture is counted exactly from its config. A quantised checkpoint, or
an architecture that hetctl does not know, is sized from the safetensors headers or index
where there are any, and refused otherwise.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from hetctl.document import first_problem
from hetctl.errors import UsageError
from hetctl.model import parameters as count
from hetctl.model.context_length import context_length
from hetctl.model.decoder import SUPPORTED, DecoderShape, decoder_shape
from hetctl.model.dtype import resolve_dtype
from hetctl.model.family_defaults import FAMILY_DEFAULTS
from hetctl.model.files import ModelFiles, open_model
from hetctl.model.kv_cache import kv_cache_dtype_of, parse_kv_cache_dtype, with_kv_cache_dtype
from hetctl.model.quantisation import scale_block
from hetctl.model.spec import DTYPE_BYTES, Dtype, KvCacheDtype, LayerSpec, ModelSpec
from hetctl.model.stored import spec_from_stored, with_stored_sizes

_WRONG = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)


def read_model_spec(model: str, dtype: str = "auto", kv_cache_dtype: str = "auto") -> ModelSpec:
    """What ``model`` weighs when vLLM runs it in ``dtype``.

    Args:
        model: A folder with ``config.json``, or a hub id.
        dtype: ``auto`` for vLLM's choice, or a dtype by vLLM's name for it.
        kv_cache_dtype: ``auto`` for the checkpoint's, else the model's; or one by vLLM's name.

    Raises:
        UsageError: no such model, an unreadable config, a dtype that vLLM refuses for it,
            or an architecture whose size cannot be told.
    """
    asked = parse_kv_cache_dtype(kv_cache_dtype)
    files = open_model(model)
    try:
        return _spec(files, dtype, asked)
    except ValidationError as error:
        raise UsageError(f"config.json of {model} is not valid: {first_problem(error)}") from error
    except _WRONG as error:
        # Whatever somebody else's file holds where a number or a name should be.
        raise UsageError(
            f"config.json of {model} is not valid: {type(error).__name__}: {error}."
        ) from error


def _spec(files: ModelFiles, dtype: str, asked: KvCacheDtype) -> ModelSpec:
    text, notes = _text_part(files.config)
    quantised = bool(_quantisation(files.config) or _quantisation(text))
    run_dtype, dtype_notes = resolve_dtype(
        dtype, _stored_dtype(files, text), str(files.config.get("model_type"))
    )
    notes += dtype_notes
    shape = decoder_shape(text)
    architecture = _architecture(files.config, text)
    spec: ModelSpec | None = None
    if shape is not None:
        spec = _spec_from_shape(files, text, shape, run_dtype, notes)
        if quantised:
            spec = with_stored_sizes(spec, files)
            block = scale_block(_quantisation(files.config) or _quantisation(text))
            spec = spec.model_copy(update={"scale_block": block})
    elif not quantised:
        spec = spec_from_stored(files, text, architecture, run_dtype, notes)
    if spec is None:
        raise UsageError(_unsupported(architecture, text, quantised))
    if asked == "auto":
        asked = kv_cache_dtype_of(files.config)
    spec = with_kv_cache_dtype(spec, asked)
    return _with_cpu_refusal(spec, files) if quantised or spec.latent_cache else spec


def _with_cpu_refusal(spec: ModelSpec, files: ModelFiles) -> ModelSpec:
    # Late, because plans of other models need nothing of the runtime.
    from vllm_hetero.cpu_models import cpu_refusal

    refusal = cpu_refusal(files.config)
    if refusal is None:
        return spec
    note = f"CPU ranks are left out: {spec.name} {refusal}."
    return spec.model_copy(update={"cpu_refusal": refusal, "notes": (*spec.notes, note)})


def _spec_from_shape(
    files: ModelFiles,
    text: Mapping[str, Any],
    shape: DecoderShape,
    dtype: Dtype,
    notes: tuple[str, ...],
) -> ModelSpec:
    width = DTYPE_BYTES[dtype]
    counts = [count.layer_parameters(shape, i) for i in range(shape.num_layers)]
    embedding = count.embedding_parameters(shape)
    head = count.head_parameters(shape)
    tied = count.head_matrix_parameters(shape) if shape.tied_embeddings else 0
    length = context_length({**FAMILY_DEFAULTS[text["model_type"]], **text})
    return ModelSpec(
        name=files.name,
        architecture=_architecture(files.config, text),
        dtype=dtype,
        layers=tuple(_layer(shape, i, counts[i], width) for i in range(shape.num_layers)),
        hidden_size=shape.hidden_size,
        vocab_size=shape.vocab_size,
        max_model_len=length.limit,
        default_model_len=length.default if length.default < length.limit else None,
        attention_heads=shape.attention_heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        activation_bytes_per_token=count.peak_activation_elements(shape) * width,
        shared_sizes=_shared_sizes(shape),
        latent_cache=shape.latent is not None,
        tied_embeddings=shape.tied_embeddings,
        embeddings_on_every_stage=shape.embeddings_on_every_stage,
        embedding_bytes=embedding * width,
        head_bytes=head * width,
        tied_bytes=tied * width,
        parameters=embedding + head - tied + sum(layer.total for layer in counts),
        active_parameters=embedding + head - tied + sum(layer.active for layer in counts),
        notes=notes,
    )


def _layer(
    shape: DecoderShape, index: int, parameters: count.LayerParameters, width: int
) -> LayerSpec:
    experts = None if index in shape.dense_layers else shape.experts
    cached = 2 * shape.kv_heads * shape.head_dim
    if shape.latent is not None:
        cached = shape.latent.cached
    return LayerSpec(
        weight_bytes=(parameters.total + parameters.derived) * width,
        decode_weight_bytes=parameters.active * width,
        flops_per_token=2 * parameters.matmul_active,
        kv_bytes_per_token=cached * width,
        derived_bytes=parameters.derived * width,
        replicated_bytes=parameters.replicated * width,
        kv_weight_bytes=parameters.kv * width,
        sliding_window=shape.sliding_windows[index] if shape.sliding_windows else None,
        experts=experts.count if experts else 0,
        experts_per_token=experts.per_token if experts else 0,
    )


def _shared_sizes(shape: DecoderShape) -> tuple[tuple[str, int], ...]:
    """Widths that vLLM divides among tensor-parallel ranks."""
    experts = shape.experts
    found = {"vocabulary": shape.vocab_size, "MLP width": shape.intermediate_size}
    if experts is not None:
        found["expert width"] = experts.intermediate_size
        found["shared expert width"] = experts.shared_intermediate_size
        if len(shape.dense_layers) == 0:
            del found["MLP width"]
    return tuple((name, size) for name, size in found.items() if size)


# Language models of models with vision whose layers are another family's.
_SAME_LAYERS = {
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
}


def _text_part(config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The language model's config, and a note where it is one part of several."""
    nested = config.get("text_config")
    if not isinstance(nested, dict):
        if "vision_config" not in config or config.get("model_type") not in _SAME_LAYERS:
            return dict(config), ()
        nested = dict(config)  # Qwen-VL's older configs have the language model's keys on top.
    text = dict(nested)
    text["model_type"] = _SAME_LAYERS.get(text.get("model_type", ""), text.get("model_type"))
    if "tie_word_embeddings" in config:
        text.setdefault("tie_word_embeddings", config["tie_word_embeddings"])
    if config.get("model_type") == "gemma3" and text["model_type"] is None:
        text["model_type"] = "gemma3_text"
    note = (
        f"{_architecture(config, text)} has more than a language model; "
        f"only its text part is planned, so leave room for the encoders. CPU ranks serve its text "
        f"part alone: add `-- --language-model-only`."
    )
    return text, (note,)


def _stored_dtype(files: ModelFiles, text: Mapping[str, Any]) -> str | None:
    for config in (files.config, text):
        found = config.get("dtype") or config.get("torch_dtype")
        if found:
            return str(found)
    # As vLLM does, ask the weights (all that are local) where the config is silent.
    kinds = {tensor.dtype for tensor in (files.tensors() or {}).values()}
    if kinds == {"BF16"}:
        return "bfloat16"
    return "float16" if kinds == {"F16"} else None


def _architecture(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    names = config.get("architectures") or text.get("architectures") or ()
    if isinstance(names, list | tuple) and names:
        return str(names[0])
    return str(config.get("model_type") or "unknown")


def _quantisation(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty where the checkpoint is not quantised."""
    return config.get("quantization_config") or config.get("compression_config") or {}


def _unsupported(architecture: str, text: Mapping[str, Any], quantised: bool) -> str:
    what = f"a quantised {architecture}" if quantised else architecture
    return (
        f"hetctl cannot size {what} (model_type {text.get('model_type')!r}): it counts "
        f"{SUPPORTED}, and other unquantised attention-only models from a local folder "
        f"with safetensors files."
    )
