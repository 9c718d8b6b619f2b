"""The kernels of a GPU rank's layer, called as vLLM's layers call them there."""

from collections.abc import Callable

import torch
from torch.nn.functional import linear as torch_linear
from vllm.v1.attention.backends.fa_utils import (
    flash_attn_varlen_func,
    get_flash_attn_version,
    reshape_and_cache_flash,
)

from vllm_hetero.calibration.paged_cache import Batch
from vllm_hetero.calibration.shapes import BLOCK


class Attention:
    """One layer's FlashAttention over a cache of ``blocks``, for one batch."""

    def __init__(self, batch: Batch, blocks: int) -> None:
        self._batch, heads = batch, batch.heads
        device = batch.query.device
        # vLLM keeps [blocks, block, KV heads, channels of K and of V].
        shape = (blocks, BLOCK, heads.kv, 2 * heads.channels)
        cache = torch.zeros(shape, dtype=torch.bfloat16, device=device)
        self._keys, self._values = cache.split(heads.channels, dim=-1)
        self._scale = torch.ones(1, dtype=torch.float32, device=device)
        self._version = get_flash_attn_version(head_size=heads.channels)

    def write(self) -> None:
        """The new tokens' keys and values into the cache."""
        batch, scale = self._batch, self._scale
        reshape_and_cache_flash(
            batch.key, batch.value, self._keys, self._values, batch.slots, "auto", scale, scale
        )

    def read(self) -> None:
        """The attention itself, into the batch's output."""
        batch = self._batch
        flash_attn_varlen_func(
            q=batch.query,
            k=self._keys,
            v=self._values,
            out=batch.output,
            cu_seqlens_q=batch.query_starts,
            max_seqlen_q=1,
            seqused_k=batch.lengths,
            max_seqlen_k=batch.context,
            softmax_scale=batch.scale,
            causal=True,
            block_table=batch.next_table(),
            fa_version=self._version,
        )


def linear(weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """x [rows, K] -> [rows, N]."""
    return lambda x: torch_linear(x, weight)
