"""Layers divided among ranks that each hold a share of every matrix.

vLLM divides evenly: attention heads, the width of the MLP or of each expert, and the
vocabulary, which it pads. So all ranks hold the same share, and what does not divide cannot run.
"""

from collections.abc import Sequence
from math import ceil

from hetctl.document import Source
from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.planner.cost import AllReduce
from hetctl.planner.device import Device
from hetctl.planner.rates import RateByRows

# An all-reduce of a few KB inside a CUDA graph: vLLM's custom kernel over NVLink, or NCCL
# through the host (estimates).
_NVLINK_LATENCY_S = 12e-6
_PCIE_LATENCY_S = 35e-6
_NVLINK_AT_LEAST_BYTES_PER_S = 100e9

# An all-reduce between device classes takes about as long as one hand-over of the same bytes,
# and longer where adding them costs more than the latency: 1.0, 1.3 and 5.1 times a hop at 8 KB,
# 512 KB and 64 MB (docs/results/collectives.md). These are the factors of the bytes alone.
_BRIDGE_PASSES = RateByRows(((512 * 2**10, 1.6), (64 * 2**20, 5.2)))

# Members that the runtime's bridge has counters for (vllm_hetero/collectives/lane.py).
_MOST_MIXED_RANKS = 63

# vllm/model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE
_VOCABULARY_PADDING = 64


def cannot_divide(spec: ModelSpec, ranks: int) -> str | None:
    """Why ``spec`` cannot be divided among so many ranks, with the number; None where it can.

    With fewer KV heads than ranks, ranks hold copies of one.
    """
    whole_kv_heads = spec.kv_heads % ranks == 0 or ranks % spec.kv_heads == 0
    if spec.attention_heads % ranks or not whole_kv_heads:
        heads = f"{spec.attention_heads} attention heads and {spec.kv_heads} KV heads"
        return f"{heads} cannot be divided among {ranks} ranks"
    for name, size in spec.shared_sizes:
        if _padded(name, size) % ranks:
            return f"the {name} of {size} cannot be divided among {ranks} ranks"
    return _cannot_divide_scales(spec, ranks)


def _cannot_divide_scales(spec: ModelSpec, ranks: int) -> str | None:
    """Why the scales of quantised weights cannot be divided, likewise.

    What is divided is the inputs of one matrix and the outputs of others. vLLM halves the groups of
    experts until they divide, but not blocks (``quantization/moe_wna16.py``).
    """
    if spec.scale_block is None or ranks == 1:
        return None
    outputs, inputs = spec.scale_block
    sizes = {name: size for name, size in spec.shared_sizes if name != "vocabulary"}
    if outputs == 1:
        sizes.pop("expert width", None)
    if not spec.latent_cache:
        sizes["width of attention"] = spec.attention_heads * spec.head_dim
    for name, size in sizes.items():
        for block in (inputs, outputs):
            if size // ranks % block:
                return (
                    f"the {name} of {size} divided among {ranks} ranks is {size // ranks}, and "
                    f"{block} weights share a scale"
                )
    kv = max(1, spec.kv_heads // ranks) * spec.head_dim
    if not spec.latent_cache and kv % outputs:
        return f"{kv} channels of keys on each of {ranks} ranks, and {outputs} share a scale"
    return None


def share_of(spec: ModelSpec, ranks: int) -> ModelSpec:
    """What each of ``ranks`` holds and computes, where :func:`cannot_divide` says nothing."""
    layers = {layer: _layer_share(layer, spec, ranks) for layer in set(spec.layers)}
    sizes = dict(spec.shared_sizes)
    rows = _padded("vocabulary", sizes.get("vocabulary", spec.vocab_size)) / spec.vocab_size
    return spec.model_copy(
        update={
            "layers": tuple(layers[layer] for layer in spec.layers),
            "attention_heads": spec.attention_heads // ranks,
            "kv_heads": max(1, spec.kv_heads // ranks),
            "embedding_bytes": ceil(spec.embedding_bytes * rows / ranks),
            "head_bytes": ceil(spec.head_bytes * rows / ranks),
            "tied_bytes": int(spec.tied_bytes * rows / ranks),
        }
    )


def groups_of(
    gpus: Sequence[Device], cpus: Sequence[Device], all_cpus: bool
) -> list[tuple[Device, ...]]:
    """Groups of both kinds of devices to consider, the largest first.

    All ranks have the same share, so a group is as good as its slowest CPU rank: of the groups of
    one size, that with the most GPUs (those with most memory) and the fastest CPU ranks.

    Args:
        all_cpus: Every CPU rank must take part.
    """
    largest = sorted(gpus, key=lambda gpu: -gpu.memory_limit_bytes)
    fastest = sorted(cpus, key=lambda cpu: -cpu.rates.weight_read.at(1))
    least = len(cpus) if all_cpus else 1
    groups = []
    for ranks in range(min(len(gpus) + len(cpus), _MOST_MIXED_RANKS), least, -1):
        some = min(len(gpus), ranks - least)
        groups.append((*largest[:some], *fastest[: ranks - some]))
    return groups


def all_reduce_of(devices: Sequence[Device]) -> AllReduce:
    """Seconds of one all-reduce over ``devices`` by its bytes.

    As the runtime does it: each kind of device sums among its own, and where there are both
    kinds, the two sums cross the bridge between them.
    """
    gpus = [device for device in devices if device.kind == "cuda"]
    cpus = [device for device in devices if device.kind == "cpu"]
    steps: list[AllReduce] = []
    if len(gpus) > 1:
        steps.append(_ring(gpus))
    if len(cpus) > 1:
        steps.append(_through_memory(cpus[:1]))
    if gpus and cpus:
        steps.append(_through_memory([gpus[0], cpus[0]]))
    return lambda size: sum(step(size) for step in steps)


def all_reduce_source(devices: Sequence[Device]) -> Source:
    """Where its time comes from: what was measured is a CPU rank and one other."""
    on_cpu = [device for device in devices if device.kind == "cpu"]
    if len(devices) > 2 or not on_cpu:
        return "estimate"
    return on_cpu[0].rates.sources.all_reduce


def is_mixed(devices: Sequence[Device]) -> bool:
    """Whether the group holds both kinds of devices."""
    return len({device.kind for device in devices}) > 1


def _ring(gpus: Sequence[Device]) -> AllReduce:
    """Each member sends and receives ``2 (n - 1) / n`` of the bytes."""
    ranks = len(gpus)
    peer = min(gpu.rates.peer_bytes_per_s for gpu in gpus)
    latency = _NVLINK_LATENCY_S if peer >= _NVLINK_AT_LEAST_BYTES_PER_S else _PCIE_LATENCY_S
    return lambda size: latency + 2 * (ranks - 1) / ranks * size / peer


def _through_memory(sides: Sequence[Device]) -> AllReduce:
    """Each side publishes its bytes in host memory and adds what the other published."""
    if (measured := sides[-1].rates.all_reduce) is not None:
        return measured.at
    latency = sum(side.rates.hop_latency_s for side in sides)
    per_byte = sum(
        (1 / side.rates.hop_in_bytes_per_s + 1 / side.rates.hop_out_bytes_per_s) / 2
        for side in sides
    )
    return lambda size: latency + _BRIDGE_PASSES.at(size) * size * per_byte


def _padded(name: str, size: int) -> int:
    return -(-size // _VOCABULARY_PADDING) * _VOCABULARY_PADDING if name == "vocabulary" else size


def _layer_share(layer: LayerSpec, spec: ModelSpec, ranks: int) -> LayerSpec:
    heads = max(1, spec.kv_heads // ranks)
    kv = ceil(layer.kv_weight_bytes * heads / spec.kv_heads)

    def held(size: int) -> int:
        divided = size - layer.replicated_bytes - layer.kv_weight_bytes
        return layer.replicated_bytes + kv + ceil(max(0, divided) / ranks)

    return layer.model_copy(
        update={
            "weight_bytes": held(layer.weight_bytes),
            "decode_weight_bytes": held(layer.decode_weight_bytes),
            "flops_per_token": ceil(layer.flops_per_token / ranks),
            "kv_bytes_per_token": layer.kv_bytes_per_token * heads // spec.kv_heads,
            "kv_weight_bytes": kv,
        }
    )
