"""Applies one linear layer, choosing the kernel by the number of rows in each call."""

from collections.abc import Mapping
from functools import cache

import torch

from vllm_hetero.cpu_linear.choice import Kernel, Table
from vllm_hetero.cpu_linear.kernels import Apply


class RowDispatch:
    """Takes the place of the ``cpu_linear`` that vLLM gives a layer.

    A call costs one look-up in a list more than the kernel does.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: torch.dtype,
        table: Table,
        kernels: Mapping[Kernel, Apply],
    ) -> None:
        """
        Args:
            shape: [N, K] of the weight.
            dtype: Of weights and activations.
            table: What to do for how many rows.
            kernels: The prepared kernels that ``table`` names.
        """
        self.table = table
        self._index = len(_layers)
        _layers.append(self)
        self._n, self._k = shape
        self._by_rows: list[tuple[Apply, torch.Tensor | None]] = []
        for step in table:
            padding = _zero_rows(step.run_as, self._k, dtype) if step.run_as else None
            entry = (kernels[step.kernel], padding)
            if step.up_to is None:
                self._above = entry
            else:
                self._by_rows += [entry] * (step.up_to + 1 - len(self._by_rows))

    def __call__(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """x [..., K] -> [..., N]; ``weight`` is vLLM's argument and may be empty."""
        if torch.compiler.is_compiling():
            # A trace is made once for all numbers of rows, so it must not see the choice.
            return _opaque(x, bias, self._index, self._n)
        return self.apply(x, bias)

    def apply(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """x [..., K] -> [..., N], with the kernel for x's number of rows."""
        flat = x if x.dim() == 2 else x.reshape(-1, self._k)
        rows = flat.shape[0]
        if rows == 0:
            return x.new_empty((*x.shape[:-1], self._n))
        apply, padding = self._by_rows[rows] if rows < len(self._by_rows) else self._above
        if padding is None:
            out = apply(flat, bias)
        else:
            # What earlier calls left in the rows below is finite or not, but no row of the
            # result depends on another.
            padding[:rows].copy_(flat)
            out = apply(padding, bias)[:rows]
        return out if x.dim() == 2 else out.view(*x.shape[:-1], self._n)


_layers: list[RowDispatch] = []


@torch.library.custom_op("vllm_hetero::cpu_linear", mutates_args=())
def _opaque(x: torch.Tensor, bias: torch.Tensor | None, layer: int, n: int) -> torch.Tensor:
    return _layers[layer].apply(x, bias)


@_opaque.register_fake
def _(x: torch.Tensor, bias: torch.Tensor | None, layer: int, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


@cache
def _zero_rows(rows: int, k: int, dtype: torch.dtype) -> torch.Tensor:
    """One buffer for all layers of a kind: a rank computes one layer at a time."""
    with torch.inference_mode(False):
        return torch.zeros(rows, k, dtype=dtype)
