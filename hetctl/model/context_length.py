"""The longest context that vLLM accepts for a model.

Mirrors ``derive_max_model_len_and_key`` and ``_get_and_verify_max_len`` of vLLM 0.26
(``vllm/transformers_utils/model_arch_config_convertor.py``, ``vllm/config/model.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The smallest of the keys that are there counts.
_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_target_positions",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)

# vLLM assumes this for a config that has none of the keys.
_UNSTATED = 2048

# RoPE types whose max_position_embeddings is already the scaled length.
_ALREADY_SCALED = frozenset({"su", "longrope", "llama3"})


@dataclass(frozen=True, slots=True)
class ContextLength:
    """Tokens: the most that may be asked for, and what is served when nothing is."""

    limit: int
    default: int


def context_length(config: Mapping[str, Any]) -> ContextLength:
    """From the text model's part of config.json."""
    length = config.get("model_max_length") or min(
        (int(config[key]) for key in _KEYS if config.get(key) is not None), default=_UNSTATED
    )
    ropes = _rope_parameters(config)
    if "gemma3" not in config.get("model_type", ""):
        length = _scaled(length, ropes)
    default = length
    if any(_rope_type(rope) in ("longrope", "su") for rope in ropes):
        default = int(config.get("original_max_position_embeddings") or length)
    return ContextLength(limit=int(length), default=default)


def _scaled(length: int, ropes: list[dict[str, Any]]) -> int:
    factor = 1.0
    for rope in ropes:
        kind = _rope_type(rope)
        if kind in _ALREADY_SCALED:
            continue
        factor = rope.get("factor") or factor
        if kind == "yarn":
            length = rope.get("original_max_position_embeddings") or length
    return int(length * factor)


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")


def _rope_parameters(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry, or one per kind of layer (Transformers 5)."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(found, dict):
        return []
    nested = [value for value in found.values() if isinstance(value, dict)]
    return nested or ([found] if found else [])
