"""Which kernels the layers of a rank get, and which of them hold their weights twice."""

import math
import time
from collections.abc import Callable, MutableMapping
from functools import cached_property
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from vllm_hetero.cpu_linear.choice import (
    LEAST_ROWS,
    WORTH_IT,
    Choice,
    Kernel,
    Table,
    choose,
    describe,
    fixed,
    kernels_of,
    step_for,
)
from vllm_hetero.cpu_linear.kernels import prepare, takes
from vllm_hetero.cpu_linear.layer import RowDispatch
from vllm_hetero.cpu_linear.measure import CacheSweep, Clock, measure, sample
from vllm_hetero.cpu_linear.mode import Mode
from vllm_hetero.log import get_logger

logger = get_logger(__name__)

TOTAL_S = 4.0
"""Time for measuring, of a rank in all."""

_SHAPE_S = 0.5
_LEAST_SHAPE_S = 1.5
"""For the numbers of rows without which there is no choice: two cores sweep a server's cache in
15 ms, and do so before each call."""

# Below, a layer's weights fit a core's own cache and what a call costs is not their size.
_LEAST_BYTES = 4 * 1024**2

_PREFERENCE: dict[Mode, tuple[Kernel, ...]] = {
    "auto": ("onednn", "torch"),
    "both": ("onednn", "torch"),
    "onednn": ("onednn", "torch"),
    "packed": ("packed", "onednn", "torch"),
    "torch": ("torch",),
}
"""What a layer gets that is not measured: the first kernel that takes its weight."""

_Shape = tuple[int, int, torch.dtype]


class LinearPolicy:
    """Equips the linear layers of one rank while its model loads."""

    def __init__(
        self, mode: Mode, copy_limit: Callable[[], int], clock: Clock = time.perf_counter
    ) -> None:
        """
        Args:
            mode: ``auto`` and ``both`` measure bfloat16 layers; the others take one kernel
                throughout, or where it does not take a weight, the next best.
            copy_limit: Bytes that second copies of weights may take under ``auto`` (``both``
                takes what it needs); asked for once, when one is wanted.
            clock: Seconds.
        """
        self.mode: Mode = mode
        self._copy_limit = copy_limit
        self.second_copy_bytes = 0
        self.measured_s = 0.0
        self.rates: dict[_Shape, dict[Table, dict[int, float]]] = {}
        """Bytes of weights read per second, by number of rows."""
        self.layers: dict[tuple[_Shape, Table], int] = {}
        """How many layers of a shape use a table."""
        self._clock = clock
        self._measures = True
        self._dispatches: MutableMapping[torch.Tensor, RowDispatch] = WeakIdKeyDictionary()
        """Of weights that are still there: a tied head is its embedding's own weight."""
        self._choices: dict[_Shape, Choice] = {}

    @cached_property
    def copy_limit_bytes(self) -> int:
        """Memory for second copies."""
        return self._copy_limit()

    @cached_property
    def _sweep(self) -> CacheSweep:
        return CacheSweep()

    def equip(self, layer: torch.nn.Module, keep_weight: bool) -> None:
        """Set ``layer.cpu_linear`` and, unless it is still needed, free ``layer.weight``.

        Args:
            layer: A layer with an unquantised ``weight`` [N, K].
            keep_weight: Something else reads the weight, as an embedding does.

        Layers that share one weight share what is made of it.
        """
        weight = layer.weight
        dispatch = self._dispatches.get(weight)
        if dispatch is None:
            dispatch = self._dispatches[weight] = self.dispatch_for(weight.detach())
        layer.cpu_linear = dispatch
        if not keep_weight and "torch" not in kernels_of(dispatch.table):
            # Of the same type: models ask their weights for it.
            layer.weight = torch.nn.Parameter(weight.new_empty(0), requires_grad=False)

    def loaded(self) -> None:
        """Measure no more, and free what that took: a layer that is equipped at its first call
        keeps this policy as long as it lives."""
        self._measures = False
        self.__dict__.pop("_sweep", None)

    def equip_at_first_call(self, layer: torch.nn.Module) -> None:
        """For an embedding, which is a linear layer only where a model's head is the very same
        module: most would hold a copy that is never read, as they do in vLLM. Where it is known
        before that it will be the head, :meth:`equip` it, so that its copy counts."""

        def first(x: torch.Tensor, weight: Any, bias: torch.Tensor | None) -> torch.Tensor:
            dispatch = self.dispatch_for(layer.weight.detach())
            logger.info("Linear kernel of the head: %s", describe(dispatch.table))
            layer.cpu_linear = dispatch
            return dispatch(x, weight, bias)

        layer.cpu_linear = first

    def dispatch_for(self, weight: torch.Tensor) -> RowDispatch:
        """``weight`` [N, K] in the forms that are worth having."""
        n, k = weight.shape
        shape = (n, k, weight.dtype)
        if shape not in self._choices:
            self._choices[shape] = self._choose(weight)
        choice = self._choices[shape]
        table = choice.single
        if choice.pair is not None and (
            self.mode == "both" or self.second_copy_bytes + weight.nbytes <= self.copy_limit_bytes
        ):
            table = choice.pair
            self.second_copy_bytes += weight.nbytes
        self.layers[shape, table] = self.layers.get((shape, table), 0) + 1
        prepared = {kernel: prepare(kernel, weight) for kernel in kernels_of(table)}
        return RowDispatch((n, k), weight.dtype, table, prepared)

    def _choose(self, weight: torch.Tensor) -> Choice:
        plain = fixed(next(kernel for kernel in _PREFERENCE[self.mode] if takes(kernel, weight)))
        kernels = [kernel for kernel in ("onednn", "packed") if takes(kernel, weight)]
        if (
            self.mode not in ("auto", "both")
            or weight.dtype is not torch.bfloat16
            or weight.nbytes < _LEAST_BYTES
            or not kernels
        ):
            return plain
        return self._measured(weight, kernels) or self._alike(weight) or plain

    def _measured(self, weight: torch.Tensor, kernels: list[Kernel]) -> Choice | None:
        """The best choice by measurement, or None when the time for it is used up or the model is
        loaded."""
        began = self._clock()
        if self.measured_s >= TOTAL_S or not self._measures:
            return None
        sweep = self._sweep
        taken = sample(weight, kernels)
        left_s = TOTAL_S - self.measured_s - (self._clock() - began)
        times = measure(
            taken.forms,
            weight.shape[1],
            weight.dtype,
            min(_SHAPE_S, left_s),
            self._clock,
            between=sweep,
            least_s=min(_LEAST_SHAPE_S, left_s),
        )
        self.measured_s += self._clock() - began
        if any(not seconds.keys() >= set(LEAST_ROWS) for seconds in times.values()):
            return None
        choice = choose(times, worth_it=0.0 if self.mode == "both" else WORTH_IT)
        n, k = weight.shape
        rates = self.rates.setdefault((n, k, weight.dtype), {})
        for table in filter(None, (choice.single, choice.pair)):
            rates[table] = {}
            for rows in times[kernels[0]]:
                step = step_for(table, rows)
                seconds = times[step.kernel][step.run_as or rows]
                rates[table][rows] = taken.nbytes / seconds
        return choice

    def _alike(self, weight: torch.Tensor) -> Choice | None:
        """The choice of the measured shape that is nearest to ``weight``'s."""
        n, k = weight.shape

        def distance(shape: _Shape) -> float:
            return abs(math.log(shape[0] / n)) + abs(math.log(shape[1] / k))

        for shape in sorted(self.rates, key=distance):
            choice = self._choices[shape]
            if all(takes(kernel, weight) for kernel in kernels_of(choice.pair or choice.single)):
                return choice
        return None
