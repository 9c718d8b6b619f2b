"""Weights that vLLM keeps in pinned host memory: how much of them, and what that costs.

UVA (``vllm/model_executor/offloader/uva.py``) keeps parameters of a stage's first layers in
host memory, up to a budget, and kernels read them over the link as they run.

Prefetch (``offloader/prefetch.py``) keeps the last layers of each group there and copies each
to a buffer on the GPU. With one buffer, a copy starts when the streamed layer before it is done,
runs while the layers between the two do, and a decode step ends only when the copy for
the next step's first streamed layer has: CUDA graphs must be left with nothing in flight.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import ceil

from hetctl.model.spec import LayerSpec
from hetctl.plan import Offload, PrefetchOffload, UvaOffload
from hetctl.planner.cost import StepCost, weight_reads
from hetctl.planner.rates import KernelRates
from hetctl.planner.stage_time import StageTime, resident_time
from hetctl.planner.steps import Step
from hetctl.units import GIB

# vLLM moves whole parameters and stops once past the budget; a quarter GiB steps over most
# parameters and keeps the command readable.
UVA_STEP_GIB = 0.25

# What the memory model may be short of where a GPU is filled on purpose: 0.15 GiB were
# missing for an 8B model on an H200.
MARGIN_BYTES = GIB // 2

# vllm/config/vllm.py: CUDA graphs are captured for up to so many rows. In mixed steps of fewer
# rows they are captured in pieces, between which no copy may be in flight.
_MOST_ROWS_IN_GRAPHS = 512


def uva_budget(overflow_bytes: int) -> UvaOffload:
    """The offloading that makes room for ``overflow_bytes`` on each GPU."""
    return UvaOffload(gib_per_gpu=ceil(overflow_bytes / GIB / UVA_STEP_GIB) * UVA_STEP_GIB)


def uva_bytes(layers: Sequence[LayerSpec], offload: UvaOffload) -> int:
    """Bytes of a stage's weights that are in host memory."""
    return min(sum(layer.weight_bytes for layer in layers), int(offload.gib_per_gpu * GIB))


def streamed_time(
    cost: StepCost,
    layers: Sequence[LayerSpec],
    rates: KernelRates,
    first: int,
    end: int,
    offload: Offload,
) -> StageTime:
    """A stage's time where some of its weights come from host memory.

    Args:
        layers: Of the whole model.
    """
    waiting = waiting_s(cost, layers, rates, first, end, offload)
    return replace(resident_time(cost, first, end), stream_s=waiting)


def waiting_s(
    cost: StepCost,
    layers: Sequence[LayerSpec],
    rates: KernelRates,
    first: int,
    end: int,
    offload: Offload,
) -> float:
    """Seconds that layers ``[first, end)`` wait for weights, beyond what hides it."""
    if not cost.step.rows:
        return 0.0
    if isinstance(offload, UvaOffload):
        return _read_over_link_s(cost, layers, rates, first, end, offload)
    copies = _copied_alike_s if cost.alike else _copied_s
    return copies(cost, layers, rates, first, end, offload)


def _read_over_link_s(
    cost: StepCost,
    layers: Sequence[LayerSpec],
    rates: KernelRates,
    first: int,
    end: int,
    offload: UvaOffload,
) -> float:
    if rates.uva_read is None:
        return 0.0
    left = uva_bytes(layers[first:end], offload)
    streamed: dict[tuple[int, float], float] = {}
    waiting = 0.0
    for index in range(first, end):
        if left <= 0:
            break
        layer, time = layers[index], cost.layers[index]
        share = min(1.0, left / layer.weight_bytes)
        left -= layer.weight_bytes
        # Like layers share one time, and its identity is cheaper to compare than they are.
        key = (id(time), share)
        if key not in streamed:
            over_link = sum(
                size / rates.uva_read.at(rows) for size, rows in weight_reads(layer, cost.step)
            )
            read = (1 - share) * time.read_s + share * over_link
            streamed[key] = max(0.0, read - time.weights_s)
        waiting += streamed[key]
    return waiting


def streamed_bytes(layers: Sequence[LayerSpec], offload: Offload) -> tuple[int, int]:
    """Bytes of a stage's weights that are in host memory, and of the buffer on the GPU."""
    if isinstance(offload, UvaOffload):
        return uva_bytes(layers, offload), 0
    return prefetch_bytes(layers, offload)


def prefetch_bytes(layers: Sequence[LayerSpec], offload: PrefetchOffload) -> tuple[int, int]:
    """Bytes of a stage's weights that are in host memory, and of the buffer on the GPU."""
    streamed = [layers[i].weight_bytes for i in _streamed(len(layers), offload)]
    return sum(streamed), offload.prefetch_step * max(streamed, default=0)


def _streamed(count: int, offload: PrefetchOffload) -> list[int]:
    """Which of a stage's ``count`` layers :meth:`PrefetchOffload.offloads` tells of."""
    group, kept = offload.group_size, offload.group_size - offload.num_in_group
    return [i for i in range(count) if i % group >= kept]


def _copied_s(
    cost: StepCost,
    layers: Sequence[LayerSpec],
    rates: KernelRates,
    first: int,
    end: int,
    offload: PrefetchOffload,
) -> float:
    in_pieces, without_graphs = _capture(cost.step)
    streamed = [first + i for i in _streamed(end - first, offload)]
    if not streamed:
        return 0.0

    def copy(index: int) -> float:
        return layers[index].weight_bytes / rates.host_copy_bytes_per_s

    def hidden(begin: int, stop: int) -> float:
        return 0.0 if in_pieces else cost.sums_s[stop] - cost.sums_s[begin]

    waiting = sum(
        max(0.0, copy(index) - hidden(before + 1, index)) for before, index in pairwise(streamed)
    )
    # Only without graphs may the last copy run on while the next step begins.
    behind = hidden(streamed[-1] + 1, end) + hidden(first, streamed[0]) * without_graphs
    return waiting + max(0.0, copy(streamed[0]) - behind)


def _copied_alike_s(
    cost: StepCost,
    layers: Sequence[LayerSpec],
    rates: KernelRates,
    first: int,
    end: int,
    offload: PrefetchOffload,
) -> float:
    """The same where all layers are alike, without looking at each."""
    in_pieces, without_graphs = _capture(cost.step)
    group, streamed_per_group = offload.group_size, offload.num_in_group
    kept = group - streamed_per_group
    whole, rest = divmod(end - first, group)
    in_rest = max(0, rest - kept)
    count = whole * streamed_per_group + in_rest
    if not count:
        return 0.0
    copy = layers[first].weight_bytes / rates.host_copy_bytes_per_s
    layer = 0.0 if in_pieces else cost.layers[first].total_s
    groups = whole + (in_rest > 0)
    tail = 0 if in_rest else rest
    hidden_at_end = (tail + kept * without_graphs) * layer
    return (
        (count - groups) * copy
        + (groups - 1) * max(0.0, copy - kept * layer)
        + max(0.0, copy - hidden_at_end)
    )


def _capture(step: Step) -> tuple[bool, bool]:
    """Whether a step's CUDA graphs are captured in pieces, and whether there are none."""
    without = step.rows > _MOST_ROWS_IN_GRAPHS
    return step.prompt_tokens > 0 and not without, without


def prefetch_groups(
    layers: Sequence[LayerSpec], relief_bytes: int
) -> list[tuple[int, PrefetchOffload]]:
    """Offloadings that make room for ``relief_bytes``, by the bytes that they copy per step.

    For each size of group, the fewest layers that suffice: one more is one copy more.
    """
    sizes = [layer.weight_bytes for layer in layers]
    found = (
        _groups_alike(len(sizes), sizes[0], relief_bytes)
        if min(sizes) == max(sizes)
        else _groups(sizes, relief_bytes)
    )
    return [
        (streamed, PrefetchOffload(group_size=group, num_in_group=count))
        for streamed, group, count in sorted(found)
    ]


def _groups(sizes: Sequence[int], relief_bytes: int) -> list[tuple[int, int, int]]:
    """Bytes per step, size of the group, layers in it that are streamed."""
    found: list[tuple[int, int, int]] = []
    for group in range(1, len(sizes) + 1):
        # The last layers of each group go first; what each position of the group holds:
        held = [sum(sizes[position::group]) for position in range(group - 1, -1, -1)]
        largest = [max(sizes[position::group]) for position in range(group - 1, -1, -1)]
        buffers = accumulate(largest, max)
        for count, (streamed, buffer) in enumerate(
            zip(accumulate(held), buffers, strict=True), start=1
        ):
            if streamed - buffer >= relief_bytes:
                found.append((streamed, group, count))
                break
    return found


def _groups_alike(layers: int, size: int, relief_bytes: int) -> list[tuple[int, int, int]]:
    """The same for layers of one size."""
    wanted = ceil(relief_bytes / size) + 1  # one more, for the buffer
    found = []
    for group in range(1, layers + 1):
        whole, rest = divmod(layers, group)

        def streamed(count: int, whole: int = whole, kept: int = group - rest) -> int:
            return whole * count + max(0, count - kept)

        count = bisect_left(range(group + 1), wanted, key=streamed)
        if count <= group:
            found.append((streamed(count) * size, group, count))
    return found
