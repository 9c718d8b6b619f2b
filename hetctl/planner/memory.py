"""What a rank holds in memory: weights, KV cache, activations, framework. All in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hetctl.model.spec import LayerSpec, ModelSpec
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


def null_block_bytes(layer: LayerSpec, serving: Serving) -> int:
    """The block that vLLM keeps back, in one layer: it stands for what a table of blocks leaves out
    (``vllm/v1/core/block_pool.py: null_block``)."""
    return serving.block_size * layer.kv_bytes_per_token


def kv_bytes_per_sequence(layer: LayerSpec, serving: Serving) -> int:
    """KV cache of one sequence of ``max_model_len`` tokens in one layer, whole blocks.

    A sliding window keeps the window and what is in flight, plus a block that it may
    straddle (``vllm/v1/kv_cache_interface.py: SlidingWindowSpec``).
    """
    block = serving.block_size
    tokens = serving.max_model_len
    if layer.sliding_window is None:
        blocks = -(-tokens // block)
    else:
        held = min(layer.sliding_window - 1 + serving.in_flight_tokens, tokens)
        blocks = min(-(-held // block) + 1, -(-tokens // block))
    return blocks * block * layer.kv_bytes_per_token


def activation_bytes(spec: ModelSpec, serving: Serving, last: bool) -> int:
    """Peak of a forward pass: one full batch through the widest layer, and the logits.

    ``max_num_batched_tokens x activation_bytes_per_token``; on the last stage the logits of
    ``max_num_seqs`` tokens come after the layers, so the larger of the two counts.
    """
    layers = serving.max_num_batched_tokens * spec.activation_bytes_per_token
    logits = serving.max_num_seqs * spec.vocab_size * _LOGIT_BYTES
    return max(layers, logits) if last else layers


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
    kv_per_sequence: tuple[int, ...]
    """Prefix sums over layers."""
    null_block: tuple[int, ...]
    """Prefix sums over layers of the KV cache that no sequence gets."""
    layers: dict[Kind, tuple[int, ...]]
    """Prefix sums of what a layer adds on a kind of device: weights, KV cache of all
    concurrent sequences, CUDA graphs."""
    edges: dict[Kind, tuple[int, int, int, int]]
    """What a stage needs besides its layers on a kind of device: index ``first + 2 * last``."""

    @classmethod
    def of(cls, spec: ModelSpec, serving: Serving) -> "MemoryModel":
        weights = prefix_sums([layer.weight_bytes for layer in spec.layers])
        kv = prefix_sums([kv_bytes_per_sequence(layer, serving) for layer in spec.layers])
        null_block = prefix_sums([null_block_bytes(layer, serving) for layer in spec.layers])
        both = tuple(
            w + serving.concurrency * k + n for w, k, n in zip(weights, kv, null_block, strict=True)
        )
        graphs = _GRAPH_BYTES_PER_LAYER if serving.cuda_graphs else 0
        on_gpu = tuple(size + i * graphs for i, size in enumerate(both))
        return cls(
            spec,
            serving,
            weights,
            kv,
            null_block,
            layers={"cpu": both, "cuda": on_gpu},
            edges={"cpu": _edges("cpu", spec, serving), "cuda": _edges("cuda", spec, serving)},
        )

    def needed(self, device: Device, first: int, end: int) -> int:
        """Everything that layers ``first`` to ``end - 1`` take on ``device``."""
        edge = (first == 0) + 2 * (end == len(self.spec.layers))
        layers = self.layers[device.kind]
        return self.edges[device.kind][edge] + layers[end] - layers[first]


def _edges(kind: Kind, spec: ModelSpec, serving: Serving) -> tuple[int, int, int, int]:
    def edge(first: bool, last: bool) -> int:
        return (
            spec.edge_weight_bytes(first, last)
            + activation_bytes(spec, serving, last)
            + cuda_graph_bytes(kind, 0, serving)
            + framework_bytes(kind)
        )

    return (edge(False, False), edge(True, False), edge(False, True), edge(True, True))


def prefix_sums(values: Sequence[int]) -> tuple[int, ...]:
    """``(0, v0, v0 + v1, ...)``."""
    return tuple(accumulate(values, initial=0))
