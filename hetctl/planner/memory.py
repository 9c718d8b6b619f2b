"""What a rank holds in memory: weights, KV cache, activations, framework. All in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hetctl.model.spec import ModelSpec
from hetctl.planner.cache_layout import CacheLayout, cache_layout
from hetctl.planner.device import Device, Kind
from hetctl.planner.serving import Serving
from hetctl.units import MIB

# What a worker takes besides tensors of the model. CUDA: context, cuBLAS workspaces and loaded
# kernels (vLLM's log line "non-torch memory" for 8B models). CPU: a worker process with torch,
# its compiler and oneDNN's scratch memory.
_FRAMEWORK_BYTES: dict[Kind, int] = {"cuda": 512 * MIB, "cpu": 1536 * MIB}

# vLLM's log line "Graph capturing": 0.48 GiB for 28 layers of an 8B model (H200, all of the
# default batch sizes), which grows with the layers, as each adds its kernels to every graph.
_GRAPH_BYTES = 128 * MIB
_GRAPH_BYTES_PER_LAYER = 14 * MIB

# Sampling keeps float32 logits and a processed copy (vllm/v1/sample/sampler.py).
_LOGIT_BYTES = 2 * 4


def activation_bytes(spec: ModelSpec, serving: Serving, last: bool) -> int:
    """Peak of a forward pass: one full batch through the widest layer, and the logits.

    ``max_num_batched_tokens x activation_bytes_per_token``; on the last stage the logits of
    ``max_num_seqs`` tokens come after the layers, so the larger of the two counts.
    """
    layers = serving.max_num_batched_tokens * spec.activation_bytes_per_token
    logits = serving.max_num_seqs * spec.vocab_size * _LOGIT_BYTES
    return max(layers, logits) if last else layers


def edge_weight_bytes(kind: Kind, spec: ModelSpec, first: bool, last: bool) -> int:
    """Weights of a stage besides its layers.

    On a CPU the head's kernel holds the head in a form of its own. A tied matrix in which tokens
    are looked up, too, is there in both forms; any other is in the kernel's alone.
    """
    both_forms = spec.tied_bytes if kind == "cpu" and first and last else 0
    return spec.edge_weight_bytes(first, last) + both_forms


def framework_bytes(kind: Kind) -> int:
    """What the process takes before any tensor of the model."""
    return _FRAMEWORK_BYTES[kind]


def cuda_graph_bytes(kind: Kind, layers: int, serving: Serving) -> int:
    """What CUDA graphs of a stage of so many layers take; CPU ranks have none."""
    if kind == "cpu" or not serving.cuda_graphs:
        return 0
    return _GRAPH_BYTES + layers * _GRAPH_BYTES_PER_LAYER


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Memory of any stage of one model under one set of engine settings."""

    spec: ModelSpec
    serving: Serving
    weights: tuple[int, ...]
    """Prefix sums over layers, one entry more than there are layers."""
    cache: CacheLayout
    layers: dict[Kind, tuple[int, ...]]
    """Prefix sums of what a layer adds on a kind of device: weights, CUDA graphs, and KV cache
    in tensors of its own."""
    edges: dict[Kind, tuple[int, int, int, int]]
    """What a stage needs besides its layers on a kind of device: index ``first + 2 * last``."""

    @classmethod
    def of(cls, spec: ModelSpec, serving: Serving) -> "MemoryModel":
        weights = prefix_sums([layer.weight_bytes for layer in spec.layers])
        cache = cache_layout(spec.layers, serving)
        both = tuple(w + cache.blocks * k for w, k in zip(weights, cache.own_bytes, strict=True))
        graphs = _GRAPH_BYTES_PER_LAYER if serving.cuda_graphs else 0
        on_gpu = tuple(size + i * graphs for i, size in enumerate(both))
        return cls(
            spec,
            serving,
            weights,
            cache,
            layers={"cpu": both, "cuda": on_gpu},
            edges={"cpu": _edges("cpu", spec, serving), "cuda": _edges("cuda", spec, serving)},
        )

    def needed(self, device: Device, first: int, end: int) -> int:
        """Everything that layers ``first`` to ``end - 1`` take on ``device``."""
        edge = (first == 0) + 2 * (end == len(self.spec.layers))
        layers, shared = self.layers[device.kind], self.cache.shared
        pages = shared.taken(first, end) if shared else 0
        return self.edges[device.kind][edge] + layers[end] - layers[first] + pages

    def all_layers(self, kind: Kind) -> int:
        """What all layers take on devices of a kind: on one, or more where they are cut."""
        shared = self.cache.shared
        return self.layers[kind][-1] + (shared.taken(0, len(self.spec.layers)) if shared else 0)


def _edges(kind: Kind, spec: ModelSpec, serving: Serving) -> tuple[int, int, int, int]:
    def edge(first: bool, last: bool) -> int:
        return (
            edge_weight_bytes(kind, spec, first, last)
            + activation_bytes(spec, serving, last)
            + cuda_graph_bytes(kind, 0, serving)
            + framework_bytes(kind)
        )

    return (edge(False, False), edge(True, False), edge(False, True), edge(True, True))


def prefix_sums(values: Sequence[int]) -> tuple[int, ...]:
    """``(0, v0, v0 + v1, ...)``."""
    return tuple(accumulate(values, initial=0))
