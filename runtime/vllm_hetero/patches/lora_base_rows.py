"""Patch: on a CPU rank, a LoRA adapter leaves requests to the base model alone.

What: ``torch_ops.lora_ops.bgmv_shrink``, ``bgmv_expand`` and ``bgmv_expand_slice`` (and the
``sgmv`` forms, which call them) see zeros in the rows of requests without an adapter.
Why: such a row has the adapter index -1, with which PyTorch picks the last adapter's weights:
once that one is loaded, the base model's answers are changed by it, silently. The Triton
kernels of GPU ranks skip these rows.
Removable when: vLLM's torch operators skip rows with index -1.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu

from vllm_hetero.patches.contract import require_parameters

_INPUTS_TO_INDICES = ("inputs", "lora_b_weights", "output_tensor", "lora_indices_tensor")
_FUNCTIONS = {
    "bgmv_shrink": (*_INPUTS_TO_INDICES, "scaling"),
    "bgmv_expand": (*_INPUTS_TO_INDICES, "add_inputs"),
    "bgmv_expand_slice": (*_INPUTS_TO_INDICES, "slice_offset", "slice_size", "add_inputs"),
}


def apply() -> None:
    """Replace the operators; does nothing the second time."""
    for name, parameters in _FUNCTIONS.items():
        original = getattr(lora_ops, name)
        if hasattr(original, "__wrapped__"):
            continue
        require_parameters(original, parameters)
        for module in (lora_ops, punica_cpu):
            setattr(module, name, _without_base_rows(original))


def _without_base_rows(operator: Callable[..., None]) -> Callable[..., None]:
    @wraps(operator)
    def masked(
        inputs: torch.Tensor,
        weights: torch.Tensor,
        output: torch.Tensor,
        indices: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        rows = inputs.masked_fill((indices < 0).unsqueeze(1), 0)
        operator(rows, weights, output, indices, *args, **kwargs)

    return masked
