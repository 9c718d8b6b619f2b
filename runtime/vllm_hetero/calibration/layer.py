"""What a layer costs whatever its size: starting its kernels."""

from collections.abc import Callable
from types import ModuleType

import torch

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.gpu import captured
from vllm_hetero.calibration.paged_cache import Batch, Heads
from vllm_hetero.calibration.sampling import timed

# So small that neither reading nor computing takes time.
_HEADS = Heads(query=4, kv=2, channels=64)
_HIDDEN = _HEADS.query * _HEADS.channels
_MLP = 2 * _HIDDEN
_CONTEXT = 16
_LAYERS = 16


class Layer:
    """One decoder layer of a Llama, in miniature."""

    def __init__(self, kernels: ModuleType, device: torch.device) -> None:
        def linear(n: int, k: int) -> Callable[[torch.Tensor], torch.Tensor]:
            return kernels.linear((torch.rand(n, k, device=device) / k).bfloat16())

        heads = _HEADS
        # Not before vLLM's operators are loaded, which importing it does.
        from vllm_hetero.calibration import fused_ops

        self._ops = fused_ops
        self._batch = Batch(heads, 1, _CONTEXT, 1, device)
        self._attention = kernels.Attention(self._batch, 1)
        self._norms = [torch.ones(_HIDDEN, device=device).bfloat16() for _ in range(2)]
        self._sizes = [heads.query * heads.channels, *[heads.kv * heads.channels] * 2]
        self._qkv = linear(sum(self._sizes), _HIDDEN)
        self._out = linear(_HIDDEN, _HIDDEN)
        self._up = linear(2 * _MLP, _HIDDEN)
        self._down = linear(_HIDDEN, _MLP)
        self._positions = torch.zeros(1, dtype=torch.int64, device=device)
        self._angles = torch.rand(_CONTEXT, heads.channels, device=device).bfloat16()

    def __call__(
        self, x: torch.Tensor, residual: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One token's state and residual [1, hidden] through the layer."""
        ops, batch = self._ops, self._batch
        x, residual = ops.add_norm(x, residual, self._norms[0])
        q, k, v = self._qkv(x).split(self._sizes, dim=-1)
        ops.rope(self._positions, q, k, _HEADS.channels, self._angles, True)
        batch.query, batch.key, batch.value = (
            part.view(1, -1, _HEADS.channels) for part in (q, k, v)
        )
        self._attention.write()
        self._attention.read()
        x = self._out(batch.output.view(1, -1))
        x, residual = ops.add_norm(x, residual, self._norms[1])
        return self._down(ops.activation(self._up(x))), residual


def overhead(kernels: ModuleType, device: torch.device, budget_s: float) -> Samples:
    """Seconds per layer of a row of layers, one kernel started after the other."""
    step = _row_of_layers(kernels, device)
    if device.type == "cuda":
        return {0: [s / _LAYERS for s in timed(_and_wait(step), budget_s)]}
    return {0: [s / _LAYERS for s in timed(step, budget_s)]}


def overhead_in_graph(kernels: ModuleType, device: torch.device, budget_s: float) -> Samples:
    """The same, replayed from a CUDA graph."""
    graph = captured(_row_of_layers(kernels, device))
    return {0: [s / _LAYERS for s in timed(_and_wait(graph.replay), budget_s)]}


def _row_of_layers(kernels: ModuleType, device: torch.device) -> Callable[[], None]:
    layers = [Layer(kernels, device) for _ in range(_LAYERS)]
    state = torch.rand(1, _HIDDEN, device=device).bfloat16()
    zeros = torch.zeros_like(state)

    def step() -> None:
        x, residual = state.clone(), zeros.clone()
        for layer in layers:
            x, residual = layer(x, residual)

    return step


def _and_wait(start: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        start()
        torch.cuda.synchronize()

    return call
