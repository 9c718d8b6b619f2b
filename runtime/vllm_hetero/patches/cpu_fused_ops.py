"""Patch: eager CPU ranks use vLLM's fused CPU kernels for norms and activations.

What: ``vllm.ir`` gets an implementation of ``rms_norm`` and ``fused_add_rms_norm``, named
:data:`PROVIDER`, and the activations' ``forward_cpu`` is ``forward_cuda``, which calls the
operator of the platform's kernels, wherever these take the tensor.
Why: vLLM leaves both to Inductor on CPUs and keeps its own C++ kernels for them unused. Without
Inductor a layer then runs some 40 small torch operators, each of which wakes all compute
threads or, with one row, costs more than the work that it does.
Removable when: ``kernels/vllm_c.py`` counts CPUs among the platforms that it supports, and
``forward_cpu`` of the activations does so without POWERPC.
"""

from collections.abc import Callable
from functools import wraps

import torch
from vllm import ir
from vllm.model_executor.layers import activation

from vllm_hetero.patches.contract import require_parameters

PROVIDER = "vllm_c_cpu"
_VECTOR = 32
"""The kernels work on whole vectors: 16 values of 32 bits, or 32 of 16 bits."""

_REGISTER = ("provider", "supported", "supports_args", "inplace")
_ACTIVATIONS = (
    activation.SiluAndMul,
    activation.GeluAndMul,
    activation.NewGELU,
    activation.FastGELU,
    activation.QuickGELU,
)


def apply() -> None:
    """Register the norms and replace the activations; does nothing the second time."""
    if PROVIDER in ir.ops.rms_norm.impls:
        return
    require_parameters(ir.ops.rms_norm.register_impl, _REGISTER)
    ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_takes_norm)(_rms_norm)
    ir.ops.fused_add_rms_norm.register_impl(
        PROVIDER, supports_args=_takes_added_norm, inplace=True
    )(_fused_add_rms_norm)
    for kind in _ACTIVATIONS:
        kind.forward_cpu = _fused(kind.forward_cpu)  # type: ignore[method-assign]


def _takes(x: torch.Tensor) -> bool:
    return x.is_contiguous() and x.shape[-1] % (2 * _VECTOR) == 0


def _takes_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return variance_size is None and weight is not None and weight.dtype == x.dtype and _takes(x)


def _takes_added_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> bool:
    return _takes_norm(x, weight, epsilon, variance_size) and x_residual.is_contiguous()


def _rms_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> torch.Tensor:
    out = torch.empty_like(x)
    torch.ops._C.rms_norm(out, x, weight, epsilon)
    return out


def _fused_add_rms_norm(
    x: torch.Tensor,
    x_residual: torch.Tensor,
    weight: torch.Tensor | None,
    epsilon: float,
    variance_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual


def _fused(
    native: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor],
) -> Callable[[torch.nn.Module, torch.Tensor], torch.Tensor]:
    require_parameters(native, ("self", "x"))

    @wraps(native)
    def forward_cpu(self: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return self.forward_cuda(x) if _takes(x) else native(self, x)

    return forward_cpu
