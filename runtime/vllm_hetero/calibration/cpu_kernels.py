"""The kernels of a CPU rank's layer, called as vLLM's layers call them there."""

from collections.abc import Callable

import torch
from vllm import _custom_ops as ops
from vllm import envs
from vllm.v1.attention.backends.cpu_attn import _get_attn_isa

from vllm_hetero.calibration.paged_cache import Batch
from vllm_hetero.calibration.shapes import BLOCK
from vllm_hetero.cpu_linear.kernels import prepare, takes


class Attention:
    """One layer's attention over a cache of ``blocks``, for one batch."""

    def __init__(self, batch: Batch, blocks: int) -> None:
        self._batch, heads = batch, batch.heads
        self._isa = _get_attn_isa(torch.bfloat16, BLOCK, heads.channels)
        # vLLM keeps [blocks, KV heads, block x (K and V), channels].
        shape = (blocks, heads.kv, 2 * BLOCK, heads.channels)
        # Zeros that nobody wrote would all be one page of the kernel's, in a cache.
        cache = torch.empty(shape, dtype=torch.bfloat16).fill_(0.5)
        self._keys, self._values = cache.chunk(2, dim=2)
        self._plan = ops.cpu_attn_get_scheduler_metadata(
            num_reqs=batch.sequences,
            num_heads=heads.query,
            num_kv_heads=heads.kv,
            head_dim=heads.channels,
            seq_lens=batch.lengths,
            dtype=torch.bfloat16,
            query_start_loc=batch.query_starts,
            causal=True,
            sliding_window_size=-1,
            isa=self._isa,
            enable_kv_split=envs.VLLM_CPU_ATTN_SPLIT_KV,
            dynamic_causal=None,
        )

    def write(self) -> None:
        """The new tokens' keys and values into the cache."""
        batch = self._batch
        ops.cpu_attn_reshape_and_cache(
            batch.key, batch.value, self._keys, self._values, batch.slots, self._isa
        )

    def read(self) -> None:
        """The attention itself, into the batch's output."""
        batch = self._batch
        ops.cpu_attention_with_kv_cache(
            query=batch.query,
            key_cache=self._keys,
            value_cache=self._values,
            output=batch.output,
            query_start_loc=batch.query_starts,
            seq_lens=batch.lengths,
            scale=batch.scale,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=batch.next_table(),
            softcap=0.0,
            scheduler_metadata=self._plan,
            s_aux=None,
        )


def linear(weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """x [rows, K] -> [rows, N], with the kernel that small layers get."""
    apply = prepare("onednn" if takes("onednn", weight) else "torch", weight)
    return lambda x: apply(x, None)
