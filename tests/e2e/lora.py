"""A LoRA adapter for the demo model, and the model with it merged in."""

import json
from pathlib import Path
from typing import Any

RANK = 4
ALPHA = 8
TARGETS = ("q_proj", "v_proj", "down_proj")


def write_adapter(model: Path, folder: Path) -> Path:
    """Write random low-rank changes to every layer, in the layout of ``peft``."""
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, weight in load_file(model / "model.safetensors").items():
        if name.removesuffix(".weight").endswith(TARGETS):
            outputs, inputs = weight.shape
            key = f"base_model.model.{name.removesuffix('.weight')}"
            down = torch.randn((RANK, inputs), generator=generator) / inputs**0.5
            up = torch.randn((outputs, RANK), generator=generator) / RANK**0.5
            # Products as large as those of the weights themselves.
            size = float(weight.float().std()) * inputs**0.5 / (ALPHA / RANK)
            tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up * size}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(model),
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": list(TARGETS),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def merged_model(model: Path, adapter: Path) -> Any:
    """``transformers``' model in float32 with the adapter's products added to its weights."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    found = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    changes = load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            key = f"base_model.model.{name.removesuffix('.weight')}"
            if f"{key}.lora_A.weight" in changes:
                down, up = changes[f"{key}.lora_A.weight"], changes[f"{key}.lora_B.weight"]
                parameter += up @ down * (ALPHA / RANK)
    return found
