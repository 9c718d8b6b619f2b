"""Runs the fused norms and activations of a CPU rank in a process of its own.

Prints a JSON line for each case: whether the kernel took the tensor, and the largest difference
from vLLM's own torch code in float64, relative to the type's precision.
"""

import json

import torch
from real_linear import load_operators
from vllm import platforms
from vllm.platforms.cpu import CpuPlatform

load_operators("best")
platforms._current_platform = CpuPlatform()

import vllm.model_executor.layers.activation as activation  # noqa: E402
from vllm import ir  # noqa: E402
from vllm.config import VllmConfig, set_current_vllm_config  # noqa: E402

from vllm_hetero.patches import cpu_fused_ops  # noqa: E402

EPSILON = 1e-5
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ROWS = (1, 7, 64)


def report(case: str, taken: bool, got: torch.Tensor, reference: torch.Tensor) -> None:
    error = (got.double() - reference).abs().max() / reference.abs().max()
    error = float(error) / torch.finfo(got.dtype).eps
    print("RESULT " + json.dumps({"case": case, "taken": taken, "error": error}))


def norms(name: str, x: torch.Tensor) -> None:
    weight = torch.rand(x.shape[-1]).to(x.dtype)
    residual = torch.randn_like(x)
    norm, added = (op.impls[cpu_fused_ops.PROVIDER] for op in (NORM, ADDED))
    wide = x.double()
    taken = norm.supports_args(x, weight, EPSILON)
    with NORM.set_priority([cpu_fused_ops.PROVIDER, "native"]):
        got = NORM(x.clone(), weight, EPSILON)
    report(f"rms_norm {name}", taken, got, normed(wide, weight))
    taken = added.supports_args(x, residual, weight, EPSILON)
    total = (x + residual).double()
    with ADDED.set_priority([cpu_fused_ops.PROVIDER, "native"]):
        got, new_residual = ADDED.maybe_inplace(x.clone(), residual.clone(), weight, EPSILON)
    report(f"fused_add_rms_norm {name}", taken, got, normed(total, weight))
    report(f"residual {name}", taken, new_residual, total)


def normed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + EPSILON).rsqrt() * weight.double()


def activations(name: str, x: torch.Tensor) -> None:
    for layer in (activation.SiluAndMul(), activation.GeluAndMul(), activation.NewGELU()):
        kind = type(layer)
        got = layer.forward_cpu(x.clone())
        reference = kind.forward_native(
            *(() if kind is activation.SiluAndMul else (layer,)), x.double()
        )
        report(f"{kind.__name__} {name}", cpu_fused_ops._takes(x), got, reference)


NORM, ADDED = ir.ops.rms_norm, ir.ops.fused_add_rms_norm


def main() -> None:
    torch.manual_seed(0)
    cpu_fused_ops.apply()
    cpu_fused_ops.apply()
    with set_current_vllm_config(VllmConfig()):
        for dtype in DTYPES:
            short = str(dtype).removeprefix("torch.")
            for rows in ROWS:
                norms(f"{short} {rows}x256", torch.randn(rows, 256).to(dtype))
                activations(f"{short} {rows}x256", torch.randn(rows, 256).to(dtype))
            strided = torch.randn(7, 2, 128).to(dtype)[:, 0]
            norms(f"{short} strided", strided)
            norms(f"{short} 7x40", torch.randn(7, 40).to(dtype))


main()
