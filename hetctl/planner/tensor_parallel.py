"""Layers divided among ranks that each hold a share of every matrix."""

from collections.abc import Sequence
from math import ceil

from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.planner.cost import AllReduce
from hetctl.planner.device import Device

# An all-reduce of a few KB inside a CUDA graph: vLLM's custom kernel over NVLink, or NCCL
# through the host (estimates).
_NVLINK_LATENCY_S = 12e-6
_PCIE_LATENCY_S = 35e-6
_NVLINK_AT_LEAST_BYTES_PER_S = 100e9


def share_of(spec: ModelSpec, ranks: int) -> ModelSpec | None:
    """What each of ``ranks`` holds and computes; None where the heads cannot be divided.

    vLLM divides attention heads, the MLP's or the experts' width, and the vocabulary; with
    fewer KV heads than ranks, ranks hold copies of one.
    """
    whole_heads = spec.kv_heads % ranks == 0 or ranks % spec.kv_heads == 0
    if spec.attention_heads % ranks or not whole_heads:
        return None
    layers = {layer: _layer_share(layer, spec, ranks) for layer in set(spec.layers)}
    return spec.model_copy(
        update={
            "layers": tuple(layers[layer] for layer in spec.layers),
            "attention_heads": spec.attention_heads // ranks,
            "kv_heads": max(1, spec.kv_heads // ranks),
            "embedding_bytes": ceil(spec.embedding_bytes / ranks),
            "head_bytes": ceil(spec.head_bytes / ranks),
            "tied_bytes": spec.tied_bytes // ranks,
        }
    )


def all_reduce_of(devices: Sequence[Device]) -> AllReduce:
    """Seconds of one all-reduce over ``devices`` by its bytes.

    Over GPUs a ring: each member sends and receives ``2 (n - 1) / n`` of the bytes. As soon as
    a CPU takes part, through the host's memory: each member hands its own over and takes the
    sum back.
    """
    ranks = len(devices)
    on_cpu = [device.rates.all_reduce for device in devices if device.kind == "cpu"]
    if on_cpu and ranks == 2 and (measured := on_cpu[-1]) is not None:
        return measured.at
    if on_cpu:
        kinds = {device.kind: device.rates.hop_latency_s for device in devices}
        latency = 2 * sum(kinds.values())
        slowest = min(device.rates.hop_bytes_per_s for device in devices)
        return lambda size: latency + 2 * (ranks - 1) * size / slowest
    peer = min(device.rates.peer_bytes_per_s for device in devices)
    latency = _NVLINK_LATENCY_S if peer >= _NVLINK_AT_LEAST_BYTES_PER_S else _PCIE_LATENCY_S
    return lambda size: latency + 2 * (ranks - 1) / ranks * size / peer


def _layer_share(layer: LayerSpec, spec: ModelSpec, ranks: int) -> LayerSpec:
    heads = max(1, spec.kv_heads // ranks)
    return layer.model_copy(
        update={
            "weight_bytes": ceil(layer.weight_bytes / ranks),
            "decode_weight_bytes": ceil(layer.decode_weight_bytes / ranks),
            "flops_per_token": ceil(layer.flops_per_token / ranks),
            "kv_bytes_per_token": layer.kv_bytes_per_token * heads // spec.kv_heads,
        }
    )
