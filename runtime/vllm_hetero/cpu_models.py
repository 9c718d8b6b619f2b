"""Which checkpoints CPU ranks can run, told from ``config.json`` alone.

Decided here once for the engine, which refuses before a rank starts, and for a planner,
which refuses before anything does. Quantisation schemes count as runnable that are tested
on CPU ranks; for the others vLLM 0.26 either has no CPU kernel, or fails while loading or in
the first step.
"""

from collections.abc import Mapping
from typing import Any

RUNNABLE = "4-bit AWQ and GPTQ, and compressed-tensors W8A8 INT8, W4A16 and W8A8 FP8 per channel"

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def cpu_refusal(config: Mapping[str, Any]) -> str | None:
    """Why CPU ranks cannot run the model with this ``config.json``; None where they can.

    The answer is a clause without a subject, such as ``is quantised with bitsandbytes, ...``.
    """
    if any(part.get("kv_lora_rank") for part in _parts(config)):
        return "has multi-head latent attention (MLA), for which vLLM has no CPU kernel"
    found = quantisation_of(config)
    if not found:
        return None
    experts = any(int(part.get(key) or 0) for part in _parts(config) for key in _EXPERTS)
    return _quantisation_refusal(found, experts)


def quantisation_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the checkpoint with this ``config.json`` is quantised; empty where it is not."""
    for part in _parts(config):
        found = part.get("quantization_config") or part.get("compression_config")
        if found:
            return dict(found)
    return {}


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    text = config.get("text_config")
    return [config, text] if isinstance(text, Mapping) else [config]


def _quantisation_refusal(config: Mapping[str, Any], experts: bool) -> str | None:
    # Old compressed-tensors checkpoints leave the method out.
    method = str(config.get("quant_method") or "compressed-tensors").lower()
    if method in ("awq", "gptq"):
        bits = config.get("bits", config.get("w_bit"))
        scheme = None if bits == 4 else f"{bits}-bit {method.upper()}"
    elif method == "compressed-tensors":
        scheme = _unknown_scheme(config)
    else:
        scheme = method
    if scheme is not None:
        return f"is quantised as {scheme}, which CPU ranks cannot run; they run {RUNNABLE}"
    if experts:
        return "has quantised experts, which CPU ranks cannot run; take the unquantised model"
    return None


def _unknown_scheme(config: Mapping[str, Any]) -> str | None:
    """The first of the checkpoint's compressed-tensors schemes that has no CPU kernel."""
    if config.get("sparsity_config"):
        return "compressed-tensors with sparse weights"
    for group in (config.get("config_groups") or {}).values():
        weights = group.get("weights") or {}
        inputs = group.get("input_activations") or {}
        form = group.get("format") or config.get("format")
        scheme = (form, weights.get("type"), weights.get("num_bits"), inputs.get("num_bits"))
        per_token = weights.get("strategy") == "channel" and inputs.get("dynamic") is True
        runs = (
            (scheme == ("int-quantized", "int", 8, 8) and per_token)
            or (scheme == ("float-quantized", "float", 8, 8) and per_token)
            or (scheme == ("pack-quantized", "int", 4, None))
        )
        if not runs:
            activations = f"A{scheme[3]}" if scheme[3] else "A16"
            scales = f"{weights.get('strategy')} scales"
            return f"compressed-tensors {form} W{scheme[2]}{activations} with {scales}"
    return None
