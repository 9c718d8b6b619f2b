"""Runs the real linear kernels in a process of its own and prints what they compute.

The operators cannot be unloaded, and a kernel that the CPU does not have would end the process.
Prints JSON lines: for each case its largest error over what rounding allows (at most 1 is
right).
"""

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import vllm

from vllm_hetero.kernels import ensure_kernels

SHAPES = ((64, 96), (48, 64), (100, 72), (4096, 544))
ROWS = (1, 2, 3, 4, 5, 8, 33, 64)
HALF_STEP = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-9, torch.float16: 2.0**-12}


def load_operators(build: str) -> None:
    """vLLM's CPU operators: those for this CPU, or those for one without bfloat16."""
    folder = ensure_kernels()
    if build == "avx512":
        torch.cpu._is_avx512_bf16_supported = lambda: False
        # The builds register the same operators; nothing else may find the other one.
        module, folder = folder / "_C_AVX512.abi3.so", Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder)
        (folder / module.name).symlink_to(module)
    vllm.__path__.append(str(folder))
    from vllm.platforms.cpu import CpuPlatform

    CpuPlatform.import_kernels()


def error_over_rounding(
    out: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> float:
    """Against float64; sums are in float32 and the result is rounded once."""
    exact = x.double() @ weight.double().T
    terms = x.double().abs() @ weight.double().abs().T
    if bias is not None:
        exact, terms = exact + bias.double(), terms + bias.double().abs()
    allowed = 2.1 * HALF_STEP[weight.dtype] * exact.abs() + 1e-6 * terms
    return float(((out.double() - exact).abs() / allowed).max())


def cases() -> Iterator[dict[str, Any]]:
    from vllm_hetero.cpu_linear.choice import Step
    from vllm_hetero.cpu_linear.kernels import prepare, takes
    from vllm_hetero.cpu_linear.layer import RowDispatch

    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return (torch.rand(shape, generator=generator) - 0.5).to(dtype)

    for dtype in HALF_STEP:
        for n, k in SHAPES:
            weight, bias = random(n, k, dtype=dtype), random(n, dtype=dtype)
            for kernel in ("onednn", "packed", "torch"):
                name = f"{kernel} {str(dtype).removeprefix('torch.')} {n}x{k}"
                if not takes(kernel, weight):
                    yield {"case": name, "takes": False}
                    continue
                table = (Step(2, kernel, run_as=8), Step(3, kernel, run_as=4), Step(None, kernel))
                dispatch = RowDispatch((n, k), dtype, table, {kernel: prepare(kernel, weight)})
                worst = 0.0
                for rows in ROWS:
                    # Wider rows than the weight's: a strided slice, as after a split.
                    for x in (random(rows, k, dtype=dtype), random(rows, 2 * k, dtype=dtype)):
                        for added in (None, bias):
                            taken = x[:, :k]
                            out = dispatch(taken, weight, added)
                            error = error_over_rounding(out, taken, weight, added)
                            worst = max(worst, error)
                yield {"case": name, "takes": True, "error": worst}


def equipped_layers() -> Iterator[dict[str, Any]]:
    """vLLM's own functions under the patch: a linear layer, an embedding and a head."""
    from vllm.model_executor.layers import utils

    from vllm_hetero.cpu_linear.policy import LinearPolicy
    from vllm_hetero.cpu_linear.vocabulary import VocabularyUse
    from vllm_hetero.patches.cpu_linear import layers_equipped_by

    original = utils.dispatch_cpu_unquantized_gemm
    for mode in ("auto", "both", "onednn", "packed", "torch"):
        layer = torch.nn.Module()
        weight = (torch.rand(2048, 2048) - 0.5).bfloat16()
        layer.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
        layer.bias = torch.nn.Parameter((torch.rand(2048) - 0.5).bfloat16(), requires_grad=False)
        policy = LinearPolicy(mode, lambda: 1 << 30)
        with layers_equipped_by(policy, VocabularyUse()):
            utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
        worst = 0.0
        for rows in ROWS:
            x = (torch.rand(rows, 2048) - 0.5).bfloat16()
            for bias in (None, layer.bias):
                out = utils.cpu_unquantized_gemm(layer, x, layer.weight, bias)
                worst = max(worst, error_over_rounding(out, x, weight, bias))
        kernels = sorted({step.kernel for table in policy.layers for step in table[1]})
        yield {
            "case": mode,
            "error": worst,
            "kernels": kernels,
            "measured": bool(policy.rates),
            "kept_bytes": layer.weight.nbytes,
            "restored": utils.dispatch_cpu_unquantized_gemm is original,
        }


def vocabulary_layer(name: str, weight: torch.Tensor) -> torch.nn.Module:
    """vLLM's embedding or head, without the process groups that making one takes."""
    from vllm.model_executor.layers import vocab_parallel_embedding as layers

    layer: torch.nn.Module = object.__new__(getattr(layers, name))
    torch.nn.Module.__init__(layer)
    layer.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    return layer


def equipped_embeddings() -> Iterator[dict[str, Any]]:
    """Embeddings and heads of all stages."""
    from vllm.model_executor.layers import utils

    from vllm_hetero.cpu_linear.policy import LinearPolicy
    from vllm_hetero.cpu_linear.vocabulary import VocabularyUse
    from vllm_hetero.patches.cpu_linear import layers_equipped_by

    generates = {"head_is_read": False}
    last = {"head_width": 512, "embeds": False, **generates}
    for name, classes, use in (
        ("of the only stage, is the head", ["Embedding"], {"head_width": 512, **generates}),
        ("of the only stage, tied", ["Embedding", "Head"], {"head_width": 512, **generates}),
        ("of the first stage", ["Embedding"], generates),
        ("of another width than the head", ["Embedding"], {"head_width": 1024, **generates}),
        ("of the last stage, is the head", ["Embedding"], last),
        ("of the last stage, tied", ["Embedding", "Head"], last),
        ("none, a head", ["Head"], {"embeds": False, **generates}),
        ("none, a head that is cast in each step", ["Head"], {"embeds": False}),
    ):
        weight = torch.rand(2048, 512).bfloat16()
        names = {"Embedding": "VocabParallelEmbedding", "Head": "ParallelLMHead"}
        made = [vocabulary_layer(names[one], weight) for one in classes]
        head = made[-1]
        head.weight = made[0].weight
        policy = LinearPolicy("onednn", lambda: 0)
        with layers_equipped_by(policy, VocabularyUse(**use)):
            for layer in made:
                utils.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
        at_load = sum(policy.layers.values())
        x = torch.rand(3, 512).bfloat16()
        out = utils.cpu_unquantized_gemm(head, x, head.weight, None)
        yield {
            "case": f"embedding: {name}",
            "at_load": at_load,
            "error": error_over_rounding(out, x, weight, None),
            "kept_bytes": max(layer.weight.nbytes for layer in made),
            "rows": made[0].weight.equal(weight),
        }


if __name__ == "__main__":
    load_operators(sys.argv[1])
    layers = (*equipped_layers(), *equipped_embeddings()) if sys.argv[2] == "layers" else ()
    for found in (*cases(), *layers):
        print("RESULT", json.dumps(found), flush=True)
