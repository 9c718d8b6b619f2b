"""vLLM's own answers to a model that does not fit: weights kept in host memory.

Both are options of ``vllm serve`` (``vllm/config/offload.py``): UVA reads the weights over
PCIe as the kernels need them; prefetch copies whole layers ahead of their use.
"""

import math

from hetctl.plan import Plan
from hetctl.units import GIB

# vLLM offloads whole parameters and stops once past the budget; a quarter GiB steps over
# most parameters and keeps the command readable.
_UVA_STEP_GIB = 0.25

# What the plan's estimate may be short of: with all layers on it, the GPU also captures graphs
# for all of them. 0.15 GiB were missing for an 8B model on an H200.
_MARGIN_BYTES = GIB // 2


def gpu_overflow_bytes(plan: Plan) -> int:
    """Bytes of a GPU + CPU plan that its GPUs have no room for.

    What the CPU ranks hold (weights and KV cache) and a margin, less what the GPU ranks have
    left. 0 or less: the GPUs could hold it all. Meaningless for a plan without a GPU rank.
    """
    on_cpu = [rank for rank in plan.ranks if rank.device == "cpu"]
    on_gpu = [rank for rank in plan.ranks if rank.device != "cpu"]
    elsewhere = sum(rank.weight_bytes + rank.kv_cache_bytes for rank in on_cpu)
    left = sum(max(0, rank.memory_limit_bytes - rank.used_bytes) for rank in on_gpu)
    return elsewhere + _MARGIN_BYTES - left


def uva_args(overflow_bytes: int, num_gpus: int) -> tuple[str, ...]:
    """Options that keep ``overflow_bytes`` of the weights in pinned host memory."""
    # vLLM counts --cpu-offload-gb per GPU.
    steps = math.ceil(overflow_bytes / num_gpus / GIB / _UVA_STEP_GIB)
    return ("--offload-backend", "uva", "--cpu-offload-gb", f"{steps * _UVA_STEP_GIB:g}")


def prefetch_args(overflow_bytes: int, layer_bytes: int, num_layers: int) -> tuple[str, ...] | None:
    """Options that stream whole layers, or None when the GPU could not hold even one.

    Args:
        layer_bytes: weights of one layer.
        num_layers: layers of the model (of one pipeline stage, with several GPUs).
    """
    # One layer more than does not fit: the layer being fetched needs a buffer on the GPU.
    wanted = math.ceil(overflow_bytes / layer_bytes) + 1
    if wanted > num_layers:
        return None
    group, in_group = _smallest_group(wanted, num_layers)
    return (
        *("--offload-backend", "prefetch"),
        *("--offload-group-size", str(group)),
        *("--offload-num-in-group", str(in_group)),
        *("--offload-prefetch-step", "1"),
    )


def _smallest_group(wanted: int, num_layers: int) -> tuple[int, int]:
    """The group size and count that offload the fewest layers, but ``wanted`` at least.

    vLLM offloads layer i when ``i % size >= size - count``. Of equal choices the smaller
    group wins: offloaded layers spread evenly give the copies time to hide.
    """
    choices = (
        (offloaded, size, count)
        for size in range(1, num_layers + 1)
        for count in range(1, size + 1)
        if (offloaded := sum(i % size >= size - count for i in range(num_layers))) >= wanted
    )
    _, size, count = min(choices)
    return size, count
