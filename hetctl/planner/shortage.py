"""Why a model does not fit some devices, in numbers."""

from collections.abc import Sequence

from hetctl.planner.device import Device
from hetctl.planner.memory import MemoryModel
from hetctl.planner.streamed import least_resident_bytes
from hetctl.planner.streamed_pipeline import MOST_GPUS, can_search
from hetctl.units import format_bytes


def shortage(devices: Sequence[Device], memory: MemoryModel) -> str:
    """``it needs 16.9 GiB and cuda:0 can give 10.8 GiB``."""
    if len(devices) == 1:
        device = devices[0]
        needed = memory.needed(device, 0, len(memory.spec.layers))
        limit = device.memory_limit_bytes
        return f"it needs {format_bytes(needed)} and {device.label} can give {format_bytes(limit)}"
    if len(devices) > len(memory.spec.layers):
        return f"{len(devices)} devices are more than the {len(memory.spec.layers)} layers"
    needed = _least_needed(devices, memory)
    limit = sum(device.memory_limit_bytes for device in devices)
    if needed <= limit:
        return "no cut into whole layers fits every device's memory"
    return (
        f"together they can give {format_bytes(limit)}, and the model needs at least "
        f"{format_bytes(needed)}"
    )


def streaming_shortage(
    gpus: Sequence[Device], memory: MemoryModel, strategy: str, host_bytes: int
) -> str:
    """Why GPUs cannot hold what must be on them while the rest is streamed."""
    tightest = min(gpus, key=lambda gpu: gpu.memory_limit_bytes)
    least = least_resident_bytes(tightest, memory, strategy)
    limit = tightest.memory_limit_bytes
    if len(gpus) == 1 and least > limit:
        return (
            f"KV cache, activations and what else must be on {tightest.label} take "
            f"{format_bytes(least)} of its {format_bytes(limit)}"
        )
    return (
        f"host memory can give {format_bytes(host_bytes)} for weights, and the GPUs cannot hold "
        f"the rest"
    )


def streamed_pipeline_shortage(orders: Sequence[Sequence[Device]], host_bytes: int) -> str:
    """Why GPUs that stream and CPU stages cannot hold the model together."""
    if not any(map(can_search, orders)):
        return f"the GPUs must be {MOST_GPUS} at most, and stand next to one another in --devices"
    gpus = sum(device.memory_limit_bytes for device in orders[0] if device.kind == "cuda")
    return (
        f"host memory can give {format_bytes(host_bytes)} for streamed weights and CPU stages, and "
        f"the GPUs cannot hold the rest in their {format_bytes(gpus)}"
    )


def _least_needed(devices: Sequence[Device], memory: MemoryModel) -> int:
    """Weights and KV cache, and what each device takes besides."""
    layers = memory.all_layers("cpu")
    middles = [memory.edges[device.kind][0] for device in devices]
    ends = memory.edges[devices[0].kind]
    return layers + sum(middles) + ends[3] - ends[0]
