"""A GPU's rates: looked up by name, or estimated from what NVML tells of it."""

from hetctl.document import Figure
from hetctl.machine import Gpu
from hetctl.profiles.data import GpuData, GpuEntry


def gpu_with_rates(gpu: Gpu, data: GpuData) -> Gpu:
    """The GPU with every missing rate filled in."""
    entry = next((entry for entry in data.gpu if entry.matches(gpu.name)), None)
    if entry is None:
        memory, matmul = _estimated_memory(gpu, data), _estimated_matmul(gpu, data)
    else:
        memory = _listed(gpu, entry, entry.memory_read_bytes_per_s)
        matmul = _listed(gpu, entry, entry.matmul_bf16_flops)
    return gpu.model_copy(
        update={
            "memory_read_bytes_per_s": gpu.memory_read_bytes_per_s or memory,
            "matmul_bf16_flops": gpu.matmul_bf16_flops or matmul,
            "host_to_device_bytes_per_s": gpu.host_to_device_bytes_per_s
            or _host_to_device(gpu, entry, data),
        }
    )


def _listed(gpu: Gpu, entry: GpuEntry, value: float) -> Figure:
    """The datasheet's figure, or an instance's part of it where MIG divides the GPU."""
    if not gpu.mig_enabled:
        return Figure(value=value, source="datasheet", note=entry.origin)
    whole = entry.memory_bytes or gpu.memory_total_bytes
    share = min(1.0, gpu.memory_total_bytes / whole)
    note = f"{entry.origin}; the MIG instance has {share:.0%} of the memory and is given as much"
    return Figure(value=value * share, source="estimate", note=note)


def _host_to_device(gpu: Gpu, entry: GpuEntry | None, data: GpuData) -> Figure:
    """Copies from pinned host memory.

    The link's highest generation counts: an idle GPU lowers it and raises it under load.
    """
    if entry is not None and entry.host_to_device_bytes_per_s is not None:
        rate = entry.host_to_device_bytes_per_s
        return Figure(value=rate, source="datasheet", note=entry.origin)
    pcie, link = data.pcie, gpu.pcie
    generation = link and (link.generation_max or link.generation_now)
    lanes = link and (link.width_max or link.width_now)
    known = bool(generation and lanes)
    generation = generation or pcie.assumed_generation
    lanes = lanes or pcie.assumed_lanes
    # A generation newer than the data is at least as fast as the newest one there.
    listed = max(g for g in pcie.bytes_per_s_per_lane if g <= generation)
    peak = pcie.bytes_per_s_per_lane[listed] * lanes
    note = (
        f"PCIe {generation}.0 x{lanes}{'' if known else ', assumed'}: {peak / 1e9:.1f} GB/s, "
        f"of which {pcie.efficiency:.0%} is reached"
    )
    return Figure(value=peak * pcie.efficiency, source="estimate", note=note)


def _estimated_memory(gpu: Gpu, data: GpuData) -> Figure:
    """Bus width x clock x 2, since data moves on both edges of the clock NVML tells.

    The rule gives the datasheet's figure for GDDR5 to GDDR7 and HBM alike.
    """
    if not gpu.memory_bus_bits or not gpu.memory_clock_hz:
        note = f"{gpu.name} is not in the data, and the driver tells no memory clock"
        rate = data.estimate.memory_read_bytes_per_s
        return Figure(value=rate, source="estimate", note=f"{note}; a low guess")
    rate = gpu.memory_bus_bits / 8 * gpu.memory_clock_hz * 2
    note = f"{gpu.memory_bus_bits} bits x {gpu.memory_clock_hz / 1e6:.0f} MHz x 2 (NVML)"
    return Figure(value=rate, source="estimate", note=note)


def _estimated_matmul(gpu: Gpu, data: GpuData) -> Figure:
    """CUDA cores x clock x 2 gives FP32; tensor cores give a multiple of it."""
    estimate = data.estimate
    if not gpu.cuda_cores or not gpu.sm_clock_hz:
        note = f"{gpu.name} is not in the data, and the driver tells no cores or clock"
        rate = estimate.matmul_bf16_flops
        return Figure(value=rate, source="estimate", note=f"{note}; a low guess")
    capability = ".".join(map(str, gpu.compute_capability or ()))
    factor = estimate.tensor_flops_per_fp32_flop.get(
        capability, estimate.default_tensor_flops_per_fp32_flop
    )
    note = (
        f"{gpu.cuda_cores} CUDA cores x {gpu.sm_clock_hz / 1e6:.0f} MHz x 2 (NVML) x {factor:g} "
        f"(tensor cores of compute capability {capability or 'unknown'})"
    )
    rate = gpu.cuda_cores * gpu.sm_clock_hz * 2 * factor
    return Figure(value=rate, source="estimate", note=note)
