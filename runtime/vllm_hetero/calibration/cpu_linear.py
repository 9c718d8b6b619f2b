"""How fast a CPU rank's GEMM reads its weights, by rows."""

import time
from collections.abc import Callable
from itertools import cycle

import torch

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.sampling import timed
from vllm_hetero.calibration.shapes import FEW_ROWS, HIDDEN, MLP, ROWS
from vllm_hetero.cpu_linear.choice import Table, kernels_of, step_for
from vllm_hetero.cpu_linear.measure import Sample, sample
from vllm_hetero.cpu_linear.mode import mode_from_env
from vllm_hetero.cpu_linear.policy import LinearPolicy

_FEATURES = 4096
"""Output features of each weight. More repeat the same work."""

_LEAST = 3
"""Samples at many rows, where one call may take a second."""

_MOST = 15


def weight_read_rate(budget_s: float, dtype: str, nbytes: int) -> Samples:
    """Bytes of weights per second, by rows, with the kernels that a rank would choose.

    Two weights of an 8B layer take turns, one with few inputs and one with many; copies of
    both, so that they come from memory and not from a cache.

    Args:
        budget_s: As many numbers of rows as fit into it; the smallest first.
        dtype: Name of a torch dtype.
        nbytes: Memory that the copies may take.
    """
    end = time.perf_counter() + budget_s
    kind = getattr(torch, dtype)
    weights = [(torch.rand(_FEATURES, k) - 0.5).to(kind) for k in (HIDDEN, MLP)]
    layers = [_chosen(weight, nbytes // len(weights)) for weight in weights]
    read = sum(weight.nbytes for weight in weights)
    numbers = ROWS if kind is torch.bfloat16 else FEW_ROWS
    samples: Samples = {}
    for position, rows in enumerate(numbers):
        left_s = end - time.perf_counter()
        if left_s <= 0:
            break
        calls = [
            _in_turns(table, taken, rows, weight.shape[1], kind)
            for weight, (table, taken) in zip(weights, layers, strict=True)
        ]
        # From some rows on, each number of rows takes twice as long as the one before.
        share_s = left_s / min(4, len(numbers) - position)
        seconds = timed(lambda calls=calls: [call() for call in calls], share_s, _LEAST, _MOST)
        samples[rows] = [read / s for s in seconds]
    return samples


def _chosen(weight: torch.Tensor, nbytes: int) -> tuple[Table, Sample]:
    """The kernels for a weight, and copies of it in their forms."""
    # Second copies of weights as where there is memory for them.
    table = LinearPolicy(mode_from_env(), lambda: 1 << 50).dispatch_for(weight).table
    return table, sample(weight, kernels_of(table), nbytes, most_copies=nbytes)


def _in_turns(
    table: Table, taken: Sample, rows: int, k: int, dtype: torch.dtype
) -> Callable[[], object]:
    """Calls the kernel for so many rows, each time with the next copy of the weight."""
    step = step_for(table, rows)
    x = torch.rand(max(rows, step.run_as), k).to(dtype)
    copies = cycle(taken.forms[step.kernel])
    return lambda: next(copies)(x, None)
