"""How fast decode attention reads the KV cache, by sequences."""

from collections.abc import Callable
from functools import partial
from types import ModuleType

import torch

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.gpu import captured
from vllm_hetero.calibration.paged_cache import Batch, Heads
from vllm_hetero.calibration.sampling import timed, timed_on_gpu
from vllm_hetero.calibration.shapes import BLOCK, CONTEXT, HEAD_DIM, HEADS, KV_HEADS, SEQUENCES

_HEADS = Heads(HEADS, KV_HEADS, HEAD_DIM)

_LAYERS = 16
"""Calls in one CUDA graph, as decode steps have them: alone, launching would take longest."""


def read_rate(kernels: ModuleType, device: torch.device, budget_s: float, nbytes: int) -> Samples:
    """Bytes of keys and values per second, where each sequence has 2,048 tokens.

    Args:
        kernels: Of the device.
        nbytes: Memory that the cache may take. Numbers of sequences that need more are left
            out.
    """
    blocks = nbytes // (BLOCK * _HEADS.kv_bytes_per_token)
    fitting = [count for count in SEQUENCES if count * CONTEXT <= blocks * BLOCK]
    samples: Samples = {}
    for sequences in fitting:
        batch = Batch(_HEADS, sequences, CONTEXT, blocks, device)
        attention = kernels.Attention(batch, blocks)
        share_s = budget_s / len(fitting)
        if device.type == "cuda":
            graph = captured(partial(_several, attention.read))
            seconds = [s / _LAYERS for s in timed_on_gpu(graph.replay, share_s)]
        else:
            seconds = timed(attention.read, share_s)
        samples[sequences] = [batch.kv_bytes / s for s in seconds]
    return samples


def _several(read: Callable[[], None]) -> None:
    for _ in range(_LAYERS):
        read()
