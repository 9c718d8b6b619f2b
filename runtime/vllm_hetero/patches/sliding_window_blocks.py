"""Patch: layers with a sliding window take the engine's KV-cache block size, too.

What: ``attention._largest_kernel_block_within`` gives ``--block-size`` where vLLM would give
the smallest block that the attention kernel knows.
Why: for a model with windows in all its layers that is 16 tokens, while vLLM's CPU attention
chooses its kernel by the block size in the rank's configuration, which stays 128: the chosen
kernel then ends the rank ("block_size % BlockSizeAlignment"). vLLM sees this only where
engine and worker share a process, and there it would use a slower kernel than ours.
Removable when: ``CPUAttentionMetadataBuilder`` looks at its KV cache's own block size.
"""

from typing import Any

from vllm.model_executor.layers.attention import attention

from vllm_hetero.patches.contract import require_parameters

_original = attention._largest_kernel_block_within


def apply() -> None:
    """Replace the function; does nothing the second time."""
    require_parameters(_original, ("attn_backend", "per_token_bytes", "page_budget", "fallback"))
    attention._largest_kernel_block_within = _engine_block_size


def _engine_block_size(
    attn_backend: Any, per_token_bytes: int, page_budget: int | None, fallback: int
) -> int:
    if page_budget:
        return int(_original(attn_backend, per_token_bytes, page_budget, fallback))
    return fallback
