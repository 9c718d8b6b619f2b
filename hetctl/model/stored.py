"""Sizes as the checkpoint stores them, for what the config alone does not tell.

Two cases: a quantised checkpoint of a known architecture, whose matrices are smaller than
the config implies; and an architecture that hetctl does not count. Both read safetensors
headers (exact), or the total in the index (spread over the layers), and say so in a note.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hetctl.errors import UsageError
from hetctl.model.context_length import context_length
from hetctl.model.files import ModelFiles, Tensor
from hetctl.model.spec import DTYPE_BYTES, Dtype, LayerSpec, ModelSpec

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_OTHER_MODALITY = re.compile(r"vision|visual|audio|multi_modal|mm_projector")
_HEAD = re.compile(r"lm_head|embed_out|output_layer")
_EMBEDDING = re.compile(r"embed|wte|wpe")

# Keys of models whose cache is not one key and one value per head and token.
_OTHER_CACHES = ("kv_lora_rank", "ssm_cfg", "mamba_d_state", "linear_num_value_heads")
_REQUIRED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")


@dataclass(frozen=True, slots=True)
class StoredSizes:
    """Bytes (or elements) of the text model's tensors, by where they sit."""

    layers: tuple[int, ...]
    experts: tuple[int, ...]
    """Of each layer, the part in routed experts."""
    embedding: int
    head: int
    has_head_matrix: bool


def with_stored_sizes(spec: ModelSpec, files: ModelFiles) -> ModelSpec:
    """``spec`` with the weight bytes that a quantised checkpoint stores.

    Raises:
        UsageError: the checkpoint has neither local headers nor an index.
    """
    tensors = files.tensors()
    if tensors is not None:
        sizes = _group(tensors, len(spec.layers), lambda tensor: tensor.size_bytes)
        _check_layers(sizes, files.name)
        layers = sizes.layers
        edges = {"embedding_bytes": sizes.embedding, "head_bytes": spec.head_bytes}
        if sizes.has_head_matrix:
            edges["head_bytes"] = sizes.head
        note = "Quantised: weight sizes are from the safetensors headers."
    else:
        total = _index_total(files)
        if total is None:
            raise UsageError(
                f"{files.name} is quantised and has no safetensors headers or index to tell its "
                f"size; give a local folder with its safetensors files, or the unquantised model."
            )
        layers = _spread(total - spec.edge_weight_bytes(True, True), spec, files.name)
        edges = {}
        note = "Quantised: the safetensors index's total, spread over the layers."
    scaled = tuple(
        _scaled_layer(layer, stored) for layer, stored in zip(spec.layers, layers, strict=True)
    )
    return spec.model_copy(
        update={
            **edges,
            "layers": scaled,
            "source": "safetensors index",
            "quantised": True,
            "notes": (*spec.notes, note),
        }
    )


def spec_from_stored(
    files: ModelFiles,
    text: Mapping[str, Any],
    architecture: str,
    dtype: Dtype,
    notes: tuple[str, ...],
) -> ModelSpec | None:
    """A spec of an unquantised model of an unknown architecture; None where it cannot be told.

    The KV cache is taken to be one key and one value per head, token and layer, so models
    that are known to cache something else give None.
    """
    if any(text.get(key) for key in _OTHER_CACHES) or any(not text.get(key) for key in _REQUIRED):
        return None
    tensors = files.tensors()
    if tensors is None:
        return None
    count = int(text["num_hidden_layers"])
    sizes = _group(tensors, count, lambda tensor: tensor.elements)
    if 0 in sizes.layers or not sizes.embedding:
        return None
    width = DTYPE_BYTES[dtype]
    hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or hidden // heads)
    tied = 0 if sizes.has_head_matrix else int(text["vocab_size"]) * hidden
    active = _active_layers(sizes, text)
    length = context_length(text)
    note = (
        f"hetctl does not know {architecture}: sizes are from the safetensors headers, and "
        f"the KV cache is taken to be a key and a value per head."
    )
    return ModelSpec(
        name=files.name,
        architecture=architecture,
        dtype=dtype,
        layers=_layers(sizes, active, text, 2 * kv_heads * head_dim * width, width),
        hidden_size=hidden,
        vocab_size=int(text["vocab_size"]),
        max_model_len=length.limit,
        default_model_len=length.default if length.default < length.limit else None,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        activation_bytes_per_token=_peak_activation_elements(text) * width,
        shared_sizes=_shared_sizes(text),
        tied_embeddings=bool(tied),
        # Unknown, so the larger: most of vLLM's models build both everywhere.
        embeddings_on_every_stage=True,
        embedding_bytes=sizes.embedding * width,
        head_bytes=max(1, sizes.head + tied) * width,
        tied_bytes=tied * width,
        parameters=sizes.embedding + sizes.head + sum(sizes.layers),
        active_parameters=sizes.embedding + sizes.head + sum(active),
        source="safetensors index",
        notes=(*notes, note),
    )


def _layers(
    sizes: StoredSizes,
    active: tuple[int, ...],
    text: Mapping[str, Any],
    kv_bytes_per_token: int,
    width: int,
) -> tuple[LayerSpec, ...]:
    count, per_token = _experts(text)
    return tuple(
        LayerSpec(
            weight_bytes=total * width,
            decode_weight_bytes=used * width,
            flops_per_token=2 * used,
            kv_bytes_per_token=kv_bytes_per_token,
            experts=count if used < total else 0,
            experts_per_token=per_token if used < total else 0,
        )
        for total, used in zip(sizes.layers, active, strict=True)
    )


def _shared_sizes(text: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    names = {
        "vocabulary": "vocab_size",
        "MLP width": "intermediate_size",
        "expert width": "moe_intermediate_size",
    }
    return tuple((name, int(text[key])) for name, key in names.items() if text.get(key))


def _peak_activation_elements(text: Mapping[str, Any]) -> int:
    """Hidden state, residual and a gated MLP; 4 x hidden is the common width of others."""
    hidden = int(text["hidden_size"])
    return 2 * hidden + 3 * int(text.get("intermediate_size") or 4 * hidden)


def _group(tensors: Mapping[str, Tensor], count: int, size: Callable[[Tensor], int]) -> StoredSizes:
    layers, experts = [0] * count, [0] * count
    embedding = head = 0
    has_head_matrix = False
    for name, tensor in tensors.items():
        if _OTHER_MODALITY.search(name):
            continue
        amount = size(tensor)
        match = _LAYER.search(name)
        if match is not None and int(match[1]) >= count:
            continue  # Layers that only speculative decoding runs (DeepSeek's MTP).
        if match is not None:
            layers[int(match[1])] += amount
            if ".experts." in name:
                experts[int(match[1])] += amount
        elif _HEAD.search(name):
            head += amount
            has_head_matrix = True
        elif _EMBEDDING.search(name):
            embedding += amount
        else:
            head += amount
    return StoredSizes(tuple(layers), tuple(experts), embedding, head, has_head_matrix)


def _check_layers(sizes: StoredSizes, name: str) -> None:
    if 0 in sizes.layers or not sizes.embedding:
        what = f"layer {sizes.layers.index(0)}" if 0 in sizes.layers else "the embedding"
        raise UsageError(f"The safetensors files of {name} hold no tensor of {what}.")


def _scaled_layer(layer: LayerSpec, stored: int) -> LayerSpec:
    share = stored / (layer.weight_bytes - layer.derived_bytes)
    scaled = {
        name: round(getattr(layer, name) * share)
        for name in ("decode_weight_bytes", "replicated_bytes", "kv_weight_bytes")
    }
    scaled["decode_weight_bytes"] = max(1, scaled["decode_weight_bytes"])
    return layer.model_copy(update={"weight_bytes": stored + layer.derived_bytes, **scaled})


def _spread(total: int, spec: ModelSpec, name: str) -> tuple[int, ...]:
    whole = sum(layer.weight_bytes for layer in spec.layers)
    if total < len(spec.layers):
        raise UsageError(f"The safetensors index of {name} states a total too small for it.")
    return tuple(max(1, total * layer.weight_bytes // whole) for layer in spec.layers)


def _index_total(files: ModelFiles) -> int | None:
    total = ((files.index() or {}).get("metadata") or {}).get("total_size")
    return int(total) if isinstance(total, int | float) else None


def _experts(text: Mapping[str, Any]) -> tuple[int, int]:
    """Experts per layer, and how many of them a token passes."""
    keys = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
    total = next((int(text[key]) for key in keys if text.get(key)), 0)
    return total, int(text.get("num_experts_per_tok") or 0)


def _active_layers(sizes: StoredSizes, text: Mapping[str, Any]) -> tuple[int, ...]:
    total, used = _experts(text)
    if not total or not used:
        return sizes.layers
    return tuple(
        layer - experts * (total - used) // total
        for layer, experts in zip(sizes.layers, sizes.experts, strict=True)
    )
