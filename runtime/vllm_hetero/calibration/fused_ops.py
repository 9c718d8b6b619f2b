"""What a layer does between its GEMMs and its attention, on either device."""

import torch
from vllm import _custom_ops as ops

rope = ops.rotary_embedding
"""Rotates queries and keys in place."""


def add_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum, normed, and the sum, both in place."""
    ops.fused_add_rms_norm(x, residual, weight, 1e-5)
    return x, residual


def activation(x: torch.Tensor) -> torch.Tensor:
    """Gate and up [rows, 2 N] -> [rows, N]."""
    out = torch.empty(*x.shape[:-1], x.shape[-1] // 2, dtype=x.dtype, device=x.device)
    torch.ops._C.silu_and_mul(out, x)
    return out
