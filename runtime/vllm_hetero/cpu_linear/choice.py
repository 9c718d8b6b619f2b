"""Turns measured times into a table: which kernel for which number of rows.

Pure functions of the times; nothing here reads a clock or a weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

Kernel = Literal["packed", "onednn", "torch"]
"""See :mod:`vllm_hetero.cpu_linear.kernels`."""

ROWS = (1, 8, 64, 4, 256, 2, 16, 32)
"""Numbers of rows that are measured, decode batches and a chunk of a prompt: those first
without which there is no choice, in case time runs out."""

LEAST_ROWS = ROWS[:3]
"""What must be measured for a choice."""

FEW_ROWS = 8
"""Up to here reading the weights is what costs, and a second copy may pay."""

WORTH_IT = 1.10
"""Gain below which nothing is changed: what is measured repeats to a few per cent."""

_MOST_PADDED_ROWS = 16

Times = Mapping[Kernel, Mapping[int, float]]
"""Seconds per call, by kernel and number of rows; the same rows for each kernel."""


@dataclass(frozen=True)
class Step:
    """What to do from the previous step's limit on.

    Attributes:
        up_to: Largest number of rows, or None for any.
        kernel: The kernel.
        run_as: Add zero rows up to this many; 0 adds none.
    """

    up_to: int | None
    kernel: Kernel
    run_as: int = 0


Table = tuple[Step, ...]
"""Steps by rising ``up_to``; the last has None."""


@dataclass(frozen=True)
class Choice:
    """The best table with one form of the weights, and with two where that pays.

    Attributes:
        single: Of one kernel.
        pair: Of two kernels, hence two copies of the weights; None if not worth it.
        gain: ``single``'s time over ``pair``'s at the rows up to ``FEW_ROWS`` where it
            is largest; 1.0 without a pair.
    """

    single: Table
    pair: Table | None = None
    gain: float = 1.0


def fixed(kernel: Kernel) -> Choice:
    """``kernel`` for everything, as vLLM would do."""
    return Choice((Step(None, kernel),))


def step_for(table: Table, rows: int) -> Step:
    """What ``table`` does with ``rows`` rows."""
    return next(step for step in table if step.up_to is None or rows <= step.up_to)


def kernels_of(table: Table) -> list[Kernel]:
    """The kernels that ``table`` uses, each once, that for the fewest rows first."""
    return list(dict.fromkeys(step.kernel for step in table))


def describe(table: Table) -> str:
    """``packed (1-4 rows), onednn``; ``onednn (1-2 rows as 8), onednn``."""
    parts, first = [], 1
    for step in table:
        as_more = f" as {step.run_as}" if step.run_as else ""
        if step.up_to is None:
            parts.append(step.kernel + as_more)
            break
        span = f"{first}-{step.up_to}" if step.up_to > first else str(first)
        parts.append(f"{step.kernel} ({span} rows{as_more})")
        first = step.up_to + 1
    return ", ".join(parts)


def choose(times: Times, worth_it: float = WORTH_IT) -> Choice:
    """The choice for one shape.

    Args:
        times: Measured seconds; must hold at least one kernel and number of rows.
        worth_it: Least gain at few rows for which a pair is proposed; 0 proposes the best
            pair in any case.
    """
    rows = sorted(next(iter(times.values())))
    best = {kernel: _padded(times[kernel], rows) for kernel in times}
    floor = {r: min(best[kernel][r][0] for kernel in best) for r in rows}

    def cost(kernels: Sequence[Kernel]) -> float:
        """Mean slowdown against the best kernel at each number of rows."""
        return sum(best[k][r][0] / floor[r] for k, r in zip(kernels, rows, strict=True))

    def table(kernels: Sequence[Kernel]) -> Table:
        return _merged([(r, k, best[k][r][1]) for k, r in zip(kernels, rows, strict=True)])

    alone = {kernel: cost([kernel] * len(rows)) for kernel in times}
    default: Kernel = "onednn" if "onednn" in times else next(iter(times))
    single = min(alone, key=lambda kernel: alone[kernel])
    if alone[default] < alone[single] * (1 + (WORTH_IT - 1) / 2):
        single = default
    candidates = [
        [first] * at + [second] * (len(rows) - at)
        for first, second in permutations(times, 2)
        for at in range(1, len(rows))
    ]
    if not candidates:
        return Choice(table([single] * len(rows)))
    pair = min(candidates, key=cost)
    gain = max(
        best[single][r][0] / best[k][r][0]
        for k, r in zip(pair, rows, strict=True)
        if r <= FEW_ROWS or r == rows[0]
    )
    if gain < worth_it:
        return Choice(table([single] * len(rows)))
    return Choice(table([single] * len(rows)), table(pair), gain)


def _padded(seconds: Mapping[int, float], rows: Sequence[int]) -> dict[int, tuple[float, int]]:
    """By number of rows: the best time, and how many rows to run as (0: as they are)."""
    best = {}
    for r in rows:
        more = [s for s in rows if r < s <= _MOST_PADDED_ROWS]
        run_as = min(more, key=lambda s: seconds[s], default=r)
        worth = seconds[run_as] * WORTH_IT <= seconds[r]
        best[r] = (seconds[run_as], run_as) if worth else (seconds[r], 0)
    return best


def _merged(parts: Sequence[tuple[int, Kernel, int]]) -> Table:
    """One step for neighbours that do the same."""
    steps: list[Step] = []
    for rows, kernel, run_as in parts:
        if steps and (steps[-1].kernel, steps[-1].run_as) == (kernel, run_as):
            steps.pop()
        steps.append(Step(rows, kernel, run_as))
    # Whatever is larger than all that was measured runs like the largest.
    return (*steps[:-1], Step(None, steps[-1].kernel))
