"""The linear kernels of a CPU rank, each with the form of the weights that it reads.

========== ================================== ===============================================
kernel     memory beside the original weights takes
========== ================================== ===============================================
``packed`` one copy (VNNI blocks)             bfloat16 of [N, K] with N % 16 = K % 32 = 0, in
                                              vLLM's build for CPUs with AVX-512 BF16. Rows up
                                              to 4 need no AMX; more rows go through oneDNN's
                                              batch-reduce kernel, which has AMX and AVX-512
                                              versions. float16 gives wrong results.
``onednn`` one copy, N padded to the block    float32, bfloat16, and float16 where the CPU
                                              has AVX-512 FP16
``torch``  none: reads the original           everything; slower than both on bfloat16
========== ================================== ===============================================

vLLM's operators must be loaded (:mod:`vllm_hetero.sideload`).
"""

from collections.abc import Callable
from functools import cache

import torch
from torch.nn.functional import linear

from vllm_hetero.cpu_linear.choice import Kernel

Apply = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
"""(x [rows, K], bias [N] or None) -> [rows, N]."""

# Primitives that oneDNN keeps per shape, one for each number of rows; as vLLM sets.
_ONEDNN_PRIMITIVES = 32


def takes(kernel: Kernel, weight: torch.Tensor) -> bool:
    """Whether ``kernel`` runs on this CPU with this weight [N, K]."""
    if kernel == "packed":
        n, k = weight.shape
        return (
            weight.dtype is torch.bfloat16
            and n % 16 == 0
            and k % 32 == 0
            and hasattr(torch.ops._C, "weight_packed_linear")
        )
    return kernel == "torch" or _onednn_has(weight.dtype)


def prepare(kernel: Kernel, weight: torch.Tensor) -> Apply:
    """Bring ``weight`` [N, K] into the form of ``kernel``, which must take it."""
    if kernel == "packed":
        return _packed(weight)
    if kernel == "onednn":
        return _onednn(weight)
    return lambda x, bias: linear(x, weight, bias)


def _packed(weight: torch.Tensor) -> Apply:
    packed = torch.ops._C.convert_weight_packed(weight)
    run = torch.ops._C.weight_packed_linear
    known: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)

    def apply(x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        nonlocal known
        if bias is not known[0]:
            known = (bias, None if bias is None else bias.float())
        return run(x, packed, known[1], True)

    return apply


def _onednn(weight: torch.Tensor) -> Apply:
    from vllm import _custom_ops as ops

    handler = ops.create_onednn_mm(weight.t(), _ONEDNN_PRIMITIVES)
    return lambda x, bias: ops.onednn_mm(handler, x, bias)


@cache
def _onednn_has(dtype: torch.dtype) -> bool:
    if not hasattr(torch.ops._C, "create_onednn_mm_handler"):
        return False
    try:
        _onednn(torch.zeros(64, 64, dtype=dtype))
    except RuntimeError:
        # It has none for float16 on a CPU without AVX-512 FP16.
        return False
    return True
