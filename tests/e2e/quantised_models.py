"""A small Llama with random quantised weights, in the layout of each checkpoint format.

The integers are drawn, not rounded from something: what a test compares is two runs of one
checkpoint. Scales give the products the size that :mod:`tests.e2e.random_models` gives them.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.random_models import write_random_model

GROUP = 32


def _group(form: str, targets: str, weights: dict[str, Any], inputs: Any = None) -> Any:
    return {
        "format": form,
        "targets": [f"re:.*({targets})_proj"],
        "weights": weights,
        "input_activations": inputs,
    }


def _arguments(bits: int, kind: str, strategy: str, **more: Any) -> dict[str, Any]:
    return {"num_bits": bits, "type": kind, "symmetric": True, "strategy": strategy, **more}


def _gptq(bits: int) -> dict[str, Any]:
    return {
        "quant_method": "gptq",
        "bits": bits,
        "group_size": GROUP,
        "desc_act": False,
        "sym": True,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    # All schemes of compressed-tensors that run on CPU ranks, in one model.
    "compressed-tensors": {
        "quant_method": "compressed-tensors",
        "format": "mixed-precision",
        "config_groups": {
            "w8a8_int8": _group(
                "int-quantized",
                "q|k|v|o",
                _arguments(8, "int", "channel"),
                _arguments(8, "int", "token", dynamic=True),
            ),
            "w4a16": _group(
                "pack-quantized", "gate|up", _arguments(4, "int", "group", group_size=GROUP)
            ),
            "w8a8_fp8": _group(
                "float-quantized",
                "down",
                _arguments(8, "float", "channel"),
                _arguments(8, "float", "token", dynamic=True),
            ),
        },
        "ignore": ["lm_head"],
    },
    "gptq": _gptq(4),
    "gptq-8bit": _gptq(8),
    "awq": {
        "quant_method": "awq",
        "bits": 4,
        "group_size": GROUP,
        "zero_point": True,
        "version": "gemm",
    },
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic"},
}


def write_quantised_llama(scheme: str, folder: Path) -> Path:
    """Write the model; the same at every call."""
    import torch
    from safetensors.torch import load_file, save_file

    write_random_model("llama", folder)
    file = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(11)
    tensors: dict[str, Any] = {}
    for name, tensor in load_file(file).items():
        if name.endswith("proj.weight"):
            layer = name.removesuffix(".weight")
            quantised = _layout(scheme, layer)(*tensor.shape, generator)
            tensors |= {f"{layer}.{key}": value for key, value in quantised.items()}
        else:
            tensors[name] = tensor.to(torch.bfloat16)
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    # Neither float16 nor float32 suits all formats.
    config |= {"dtype": "bfloat16", "quantization_config": CONFIGS[scheme]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _words(shape: tuple[int, ...], generator: Any) -> Any:
    """Packed integers of any width: random bits."""
    import torch

    return torch.randint(-(2**31), 2**31, shape, generator=generator, dtype=torch.int64).to(
        torch.int32
    )


def _scales(shape: tuple[int, ...], inputs: int, spread: float, generator: Any) -> Any:
    """Scales for integers of standard deviation ``spread``."""
    import torch

    jitter = 1 + 0.2 * torch.randn(shape, generator=generator)
    return jitter * 2 / inputs**0.5 / spread


def _int8(outputs: int, inputs: int, generator: Any) -> dict[str, Any]:
    import torch

    weight = torch.randint(-127, 128, (outputs, inputs), generator=generator, dtype=torch.int8)
    scale = _scales((outputs, 1), inputs, 73, generator)
    return {"weight": weight, "weight_scale": scale}


def _pack_quantised(outputs: int, inputs: int, generator: Any) -> dict[str, Any]:
    import torch

    scale = _scales((outputs, inputs // GROUP), inputs, 4.6, generator)
    return {
        "weight_packed": _words((outputs, inputs // 8), generator),
        "weight_scale": scale.to(torch.bfloat16),
        "weight_shape": torch.tensor([outputs, inputs]),
    }


def _gptq_words(bits: int) -> "Layout":
    def layout(outputs: int, inputs: int, generator: Any) -> dict[str, Any]:
        import torch

        packed, groups = 32 // bits, inputs // GROUP
        scale = _scales((groups, outputs), inputs, 2**bits / 12**0.5, generator)
        return {
            "qweight": _words((inputs // packed, outputs), generator),
            "qzeros": torch.full((groups, outputs // packed), 0x77777777, dtype=torch.int32),
            "scales": scale.to(torch.float16),
            "g_idx": (torch.arange(inputs) // GROUP).to(torch.int32),
        }

    return layout


def _awq(outputs: int, inputs: int, generator: Any) -> dict[str, Any]:
    import torch

    scale = _scales((inputs // GROUP, outputs), inputs, 6.5, generator)
    return {
        "qweight": _words((inputs, outputs // 8), generator),
        "qzeros": _words((inputs // GROUP, outputs // 8), generator),
        "scales": scale.to(torch.float16),
    }


def _fp8(outputs: int, inputs: int, generator: Any) -> dict[str, Any]:
    import torch

    weight = 30 * torch.randn((outputs, inputs), generator=generator)
    scale = _scales((outputs, 1), inputs, 30, generator)
    return {"weight": weight.to(torch.float8_e4m3fn), "weight_scale": scale}


Layout = Callable[[int, int, Any], dict[str, Any]]


def _layout(scheme: str, layer: str) -> Layout:
    """How ``scheme`` stores the matrix of ``layer``."""
    if scheme == "compressed-tensors":
        if layer.endswith("down_proj"):
            return _fp8
        return _pack_quantised if layer.endswith(("gate_proj", "up_proj")) else _int8
    return {
        "gptq": _gptq_words(4),
        "gptq-8bit": _gptq_words(8),
        "awq": _awq,
        "fp8": _fp8,
    }[scheme]
