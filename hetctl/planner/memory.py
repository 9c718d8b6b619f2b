"""What a rank holds in memory: weights, KV cache, activations, framework. All in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hetctl.model.spec import LayerSpec, ModelSpec
from hetctl.planner.device import Device, Kind
from hetctl.planner.serving import Serving
from hetctl.units import GIB, MIB

# What a worker takes besides tensors of the model. CUDA: context, cuBLAS workspaces and
# loaded kernels 0.5 GiB, CUDA graphs of a decode batch about 0.5 GiB (vLLM's own log
# lines "non-torch memory" and "Graph capturing" for 8B models). CPU: a worker process with
# torch, its compiler and oneDNN's scratch memory.
_FRAMEWORK_BYTES: dict[Kind, int] = {"cuda": 1 * GIB, "cpu": 1536 * MIB}

# Sampling keeps float32 logits and a processed copy (vllm/v1/sample/sampler.py).
_LOGIT_BYTES = 2 * 4


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


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Memory of any stage of one model under one set of engine settings."""

    spec: ModelSpec
    serving: Serving
    weights: tuple[int, ...]
    """Prefix sums over layers, one entry more than there are layers."""
    kv_per_sequence: tuple[int, ...]
    """Prefix sums over layers."""
    layers: tuple[int, ...]
    """Prefix sums of weights and KV cache of all concurrent sequences."""

    @classmethod
    def of(cls, spec: ModelSpec, serving: Serving) -> "MemoryModel":
        weights = prefix_sums([layer.weight_bytes for layer in spec.layers])
        kv = prefix_sums([kv_bytes_per_sequence(layer, serving) for layer in spec.layers])
        both = tuple(w + serving.concurrency * k for w, k in zip(weights, kv, strict=True))
        return cls(spec, serving, weights, kv, both)

    def edges(self, device: Device) -> tuple[int, int, int, int]:
        """What a stage needs besides its layers: index ``first + 2 * last``."""
        return (
            self._edge(device, first=False, last=False),
            self._edge(device, first=True, last=False),
            self._edge(device, first=False, last=True),
            self._edge(device, first=True, last=True),
        )

    def _edge(self, device: Device, first: bool, last: bool) -> int:
        return (
            self.spec.edge_weight_bytes(first, last)
            + activation_bytes(self.spec, self.serving, last)
            + framework_bytes(device.kind)
        )

    def needed(self, device: Device, first: int, end: int) -> int:
        """Everything that layers ``first`` to ``end - 1`` take on ``device``."""
        edge = (first == 0) + 2 * (end == len(self.spec.layers))
        return self.edges(device)[edge] + self.layers[end] - self.layers[first]


def prefix_sums(values: Sequence[int]) -> tuple[int, ...]:
    """``(0, v0, v0 + v1, ...)``."""
    return tuple(accumulate(values, initial=0))
