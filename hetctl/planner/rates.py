"""How fast a device runs the kernels of a step: measured where it was, derived where not.

A datasheet tells what memory and matrix units could do; kernels reach a share of it that
depends on the rows (tokens) that share the weights. The shares below are used for a rate
that the machine document does not hold, and come from the measurements that they name.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from math import exp, log
from operator import mul

from hetctl.document import Figure, FigureByBytes, FigureByRows, Source
from hetctl.machine import Gpu, NumaNode
from hetctl.model.spec import DTYPE_BYTES, Dtype

# Share of the GPU's memory rate at which GEMMs read bf16 weights. One row: an 8B model steps in
# 5.1 ms on an H200 with CUDA graphs, 3.7 ms of it reading 15.0 GB at 0.85 of 4.8 TB/s; 8 and 64
# rows: its 6.5 and 9.1 ms, less the same overheads.
_GPU_WEIGHT_READ = ((1, 0.85), (8, 0.67), (64, 0.67))

# Share of the host link at which GEMMs read weights by UVA: an 8B model with 3.5 GB offloaded
# takes 73, 77, 113 ms per step at 1, 8, 64 rows and 0.70 s for 2,048 on an H200 whose link copies
# 55 GB/s. Above some rows, each tile of the output reads the weights again.
_UVA_READ = ((1, 0.92), (8, 0.88), (64, 0.60), (2048, 0.105))

# Share of the datasheet's matrix rate that prefills of dense models reach, and of what large
# GEMMs alone do: 790 of the 989 TFLOP/s of an H200.
_GPU_MATMUL = 0.55
_GPU_MATMUL_OF_MEASURED = 0.69

# Share of the memory rate at which decode attention reads the KV cache (an estimate).
_GPU_ATTENTION_READ = 0.7

# 5.1 ms per step less the reads and the engine's share, over 32 layers of graph replay.
_GPU_LAYER_OVERHEAD_S = 20e-6

# What is added without CUDA graphs: 16 ms per step of the same model, launched kernel by kernel.
_GPU_EAGER_OVERHEAD_S = 340e-6

# A GPU's side of a hand-over: a copy of 8 KB with synchronisation takes 15 to 19 us.
_GPU_HOP_LATENCY_S = 17e-6

# Share of the node's read rate (87 to 96 GB/s) at which GEMMs on 16 AMX cores read bf16 weights:
# the packed kernel's 68 GB/s at 1 row, oneDNN's 78 at 8. More rows are bound by computing.
_CPU_WEIGHT_READ = ((1, 0.74), (8, 0.85))

# Share of the node's matrix rate that a prefill reaches: norms, attention and barriers
# between GEMMs cost the rest (2.5 TFLOP/s in a stage where a GEMM alone does 2.5 to 4.4).
_CPU_MATMUL = 0.8

# Matrix rate relative to bfloat16 where it was not measured. float32: AVX-512 FMA does half of
# AVX-512 BF16's rate and 1/16 of AMX's; 1/4 lies between, and decode does not depend on it.
_CPU_MATMUL_SHARE: dict[Dtype, float] = {"bfloat16": 1.0, "float16": 1.0, "float32": 1 / 4}

# CUDA float32: 67 of 989 TFLOP/s on an H100 SXM (NVIDIA's datasheet, without TF32, as PyTorch's
# default).
_GPU_FP32_MATMUL_SHARE = 1 / 15

# One thread per KV head and sequence, strided reads (an estimate).
_CPU_ATTENTION_READ = 0.5

# About ten parallel regions of 15 us.
_CPU_LAYER_OVERHEAD_S = 150e-6

# A CPU's side of a hand-over through shared memory: 156 us for 8 KB, 252 us for 512 KB and 2.2 ms
# for 64 MiB from GPU to CPU (docs/results/hops.md), less the GPU's side.
_CPU_HOP_LATENCY_S = 175e-6
_CPU_HOP_BYTES_PER_S = 80e9

# Between GPUs without a known link: through the host, both links in turn.
_PEER_SHARE_OF_HOST_LINK = 0.5
_NVLINK_BYTES_PER_S: dict[tuple[int, int], float] = {
    # One direction, 80% of the vendor's figure: A100 300 GB/s, H100 and H200 450, B200 900.
    (8, 0): 240e9,
    (9, 0): 360e9,
    (10, 0): 720e9,
}
_NVLINK_OLDER_BYTES_PER_S = 40e9


@dataclass(frozen=True, slots=True)
class RateByRows:
    """A rate in bytes per second, interpolated on logarithmic axes.

    Below the first point it is flat. Beyond the last it goes on falling as between the last
    two points, and never rises.
    """

    points: tuple[tuple[float, float], ...]

    def at(self, rows: float) -> float:
        """Bytes per second with so many rows."""
        points = self.points
        i = bisect_left(points, (rows,))
        if i == 0:
            return points[0][1]
        if i == len(points):
            if len(points) == 1 or points[-1][1] >= points[-2][1]:
                return points[-1][1]
            i -= 1
        (x0, y0), (x1, y1) = points[i - 1], points[i]
        return exp(log(y0) + log(rows / x0) * log(y1 / y0) / log(x1 / x0))

    def scaled(self, factor: float) -> "RateByRows":
        return RateByRows(tuple((rows, rate * factor) for rows, rate in self.points))


@dataclass(frozen=True, slots=True)
class TimeByBytes:
    """A time by size: never less than the smallest size's, and at a rate between and beyond."""

    least_s: float
    rate: RateByRows

    @classmethod
    def of(cls, figure: FigureByBytes) -> "TimeByBytes":
        """The times of a table."""
        sizes, times = map(float, figure.sizes_bytes), figure.values
        points = tuple((size, size / time) for size, time in zip(sizes, times, strict=True))
        return cls(times[0], RateByRows(points))

    def at(self, size: float) -> float:
        """Seconds for so many bytes."""
        return max(self.least_s, size / self.rate.at(size))


@dataclass(frozen=True, slots=True)
class RateSources:
    """Where each rate comes from. What is derived from another rate by a share is an estimate."""

    weight_read: Source = "estimate"
    matmul: Source = "estimate"
    attention_read: Source = "estimate"
    layer_overhead: Source = "estimate"
    hop: Source = "estimate"
    host_copy: Source = "estimate"
    uva_read: Source = "estimate"
    peer: Source = "estimate"
    all_reduce: Source = "estimate"
    eager_overhead: Source = "estimate"


@dataclass(frozen=True, slots=True)
class KernelRates:
    """What one rank's kernels do. Bytes and FLOP per second, in bf16."""

    weight_read: RateByRows
    matmul_flops: float
    attention_read: RateByRows
    """KV cache that decode attention reads, by sequences."""
    layer_overhead_s: float
    hop_latency_s: float
    """This side's part of a hand-over from the stage before, or to the next one."""
    hop_in_bytes_per_s: float
    hop_out_bytes_per_s: float
    host_copy_bytes_per_s: float = 0.0
    """Pinned host memory to a GPU; 0 on a CPU."""
    uva_read: RateByRows | None = None
    """Weights that a GPU reads in place from pinned host memory."""
    peer_bytes_per_s: float = 0.0
    """To the other members of a tensor-parallel group."""
    all_reduce: "TimeByBytes | None" = None
    """Of a CPU rank and one other rank, where it was measured."""
    eager_overhead_s: float = 0.0
    """What a layer costs more where no CUDA graph launches it."""
    while_cpu_reads: "KernelRates | None" = None
    """Of a GPU, where it was measured: the same while CPU ranks read host memory."""
    while_copying: float = 0.0
    """Of a CPU, where it was measured: the share of its memory rate that is left while a GPU's
    copies go on; else 0."""
    sources: RateSources = field(default=RateSources(), compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Costs are looked up by rates often, and there are many numbers in them.
        compared = tuple(getattr(self, one.name) for one in fields(self) if one.compare)
        object.__setattr__(self, "_hash", hash(compared))

    def __hash__(self) -> int:
        return self._hash

    def without_graphs(self) -> "KernelRates":
        """The rates of an engine without CUDA graphs."""
        return replace(self, layer_overhead_s=self.layer_overhead_s + self.eager_overhead_s)


def gpu_rates(
    gpu: Gpu, read: Figure, matmul: Figure, link: Figure, dtype: Dtype = "bfloat16"
) -> KernelRates:
    """Rates of a GPU with weights of ``dtype``.

    ``read``, ``matmul`` and ``link`` are what the document must have.
    """
    weights, uva = gpu.weight_read_bytes_per_s_by_rows, gpu.uva_read_bytes_per_s_by_rows
    overhead, eager = gpu.layer_overhead_s, gpu.layer_overhead_eager_s
    latency, back = gpu.hop_latency_s, gpu.device_to_host_bytes_per_s or link
    flops, flops_source = _gpu_matmul(gpu, matmul, dtype)
    overhead_s = overhead.value if overhead else _GPU_LAYER_OVERHEAD_S
    eager_s = eager.value - overhead_s if eager else _GPU_EAGER_OVERHEAD_S
    rates = KernelRates(
        weight_read=_curve(weights, read.value, _GPU_WEIGHT_READ),
        matmul_flops=flops,
        attention_read=_attention(gpu, read.value * _GPU_ATTENTION_READ),
        layer_overhead_s=overhead_s,
        hop_latency_s=latency.value if latency else _GPU_HOP_LATENCY_S,
        hop_in_bytes_per_s=link.value,
        hop_out_bytes_per_s=back.value,
        host_copy_bytes_per_s=link.value,
        uva_read=_curve(uva, link.value, _UVA_READ),
        peer_bytes_per_s=_peer(gpu, link),
        eager_overhead_s=max(0.0, eager_s),
        sources=RateSources(
            weight_read=_source(weights),
            matmul=flops_source,
            attention_read=_attention_source(gpu),
            layer_overhead=_source(overhead),
            hop=weakest([_source(latency), link.source, back.source]),
            host_copy=link.source,
            uva_read=_source(uva),
            peer=_source(gpu.device_to_device_bytes_per_s),
            eager_overhead=weakest([_source(overhead), _source(eager)]),
        ),
    )
    return replace(rates, while_cpu_reads=_while_cpu_reads(gpu, rates))


def _while_cpu_reads(gpu: Gpu, rates: KernelRates) -> KernelRates | None:
    """With the copies that were measured beside a CPU rank that reads; None where none were."""
    to_gpu = gpu.host_to_device_while_cpu_reads_s_by_bytes
    from_gpu = gpu.device_to_host_while_cpu_reads_s_by_bytes
    if to_gpu is None or from_gpu is None:
        return None
    link = min(rates.host_copy_bytes_per_s, to_gpu.sizes_bytes[-1] / to_gpu.values[-1])
    smallest = (to_gpu.values[0] + from_gpu.values[0]) / 2
    return replace(
        rates,
        hop_latency_s=max(rates.hop_latency_s, smallest),
        hop_in_bytes_per_s=link,
        hop_out_bytes_per_s=min(
            rates.hop_out_bytes_per_s, from_gpu.sizes_bytes[-1] / from_gpu.values[-1]
        ),
        host_copy_bytes_per_s=link,
        uva_read=rates.uva_read and rates.uva_read.scaled(link / rates.host_copy_bytes_per_s),
    )


def _gpu_matmul(gpu: Gpu, bf16: Figure, dtype: Dtype) -> tuple[float, Source]:
    """What a prefill reaches, and where that is from."""
    figure, share, source = bf16, 1.0, bf16.source
    if dtype == "float16" and gpu.matmul_fp16_flops is not None:
        # Else as fast as bfloat16, which datasheets say of all that have both.
        figure = gpu.matmul_fp16_flops
        source = figure.source
    elif dtype == "float32":
        own = gpu.matmul_fp32_flops
        figure, share = (own, 1.0) if own is not None else (bf16, _GPU_FP32_MATMUL_SHARE)
        source = _source(own)
    reached = _GPU_MATMUL_OF_MEASURED if figure.source == "measured" else _GPU_MATMUL
    return figure.value * share * reached, source


def node_rates(
    node: NumaNode, read: Figure, matmul: Figure, share: float, dtype: Dtype = "bfloat16"
) -> KernelRates:
    """Rates of ``share`` of a NUMA node's cores, with weights of ``dtype``."""
    overhead = node.layer_overhead_s
    latency, bandwidth = node.hop_latency_s, node.hop_bytes_per_s
    own = _node_weight_read(node, dtype)
    flops, flops_source = _node_matmul(node, matmul, dtype)
    all_reduce, copying = node.all_reduce_s_by_bytes, node.memory_read_while_copying_bytes_per_s
    hop_rate = bandwidth.value if bandwidth else _CPU_HOP_BYTES_PER_S
    curve = own or node.weight_read_bytes_per_s_by_rows
    return KernelRates(
        weight_read=_curve(curve, read.value, _CPU_WEIGHT_READ).scaled(share),
        matmul_flops=flops * share,
        attention_read=_attention(node, read.value * _CPU_ATTENTION_READ).scaled(share),
        layer_overhead_s=overhead.value if overhead else _CPU_LAYER_OVERHEAD_S,
        hop_latency_s=latency.value if latency else _CPU_HOP_LATENCY_S,
        hop_in_bytes_per_s=hop_rate,
        hop_out_bytes_per_s=hop_rate,
        all_reduce=None if all_reduce is None else TimeByBytes.of(all_reduce),
        while_copying=min(1.0, copying.value / read.value) if copying else 0.0,
        sources=RateSources(
            weight_read=_source(own),
            matmul=flops_source,
            attention_read=_attention_source(node),
            layer_overhead=_source(overhead),
            hop=weakest([_source(latency), _source(bandwidth)]),
            all_reduce=_source(all_reduce),
        ),
    )


def _node_matmul(node: NumaNode, bf16: Figure, dtype: Dtype) -> tuple[float, Source]:
    """FLOP/s of all cores, and where that is from."""
    curve = _node_weight_read(node, dtype)
    if curve is not None:
        # What the rows of a measured curve reached needs no guess: one FLOP per row and byte of
        # 16-bit weights.
        flop_per_byte = 2 / DTYPE_BYTES[dtype]
        return flop_per_byte * max(map(mul, curve.rows, curve.values)), curve.source
    own = {"float16": node.matmul_fp16_flops, "float32": node.matmul_fp32_flops}.get(dtype)
    if own is not None:
        return own.value * _CPU_MATMUL, own.source
    source = bf16.source if dtype == "bfloat16" else "estimate"
    if (of_bf16 := node.weight_read_bytes_per_s_by_rows) is not None:
        reached = max(map(mul, of_bf16.rows, of_bf16.values))
        return _CPU_MATMUL_SHARE[dtype] * reached, source
    return bf16.value * _CPU_MATMUL * _CPU_MATMUL_SHARE[dtype], source


def _node_weight_read(node: NumaNode, dtype: Dtype) -> FigureByRows | None:
    if dtype == "float16":
        return node.weight_read_fp16_bytes_per_s_by_rows
    if dtype == "float32":
        return node.weight_read_fp32_bytes_per_s_by_rows
    return node.weight_read_bytes_per_s_by_rows


def _attention(part: Gpu | NumaNode, otherwise: float) -> RateByRows:
    curve, figure = part.attention_read_bytes_per_s_by_sequences, part.attention_read_bytes_per_s
    if curve is not None:
        return RateByRows(tuple(zip(map(float, curve.rows), curve.values, strict=True)))
    return RateByRows(((1.0, figure.value if figure else otherwise),))


def _attention_source(part: Gpu | NumaNode) -> Source:
    return _source(part.attention_read_bytes_per_s_by_sequences or part.attention_read_bytes_per_s)


def _source(figure: Figure | FigureByRows | FigureByBytes | None) -> Source:
    """Of a rate's own figure; without one, it is derived by shares or is a constant of ours."""
    return "estimate" if figure is None else figure.source


def weakest(sources: Iterable[Source]) -> Source:
    """The source to distrust most."""
    order: tuple[Source, ...] = ("measured", "datasheet", "estimate")
    return max(sources, key=order.index)


def _curve(
    measured: FigureByRows | None, peak: float, shares: tuple[tuple[int, float], ...]
) -> RateByRows:
    if measured is not None:
        return RateByRows(tuple(zip(map(float, measured.rows), measured.values, strict=True)))
    return RateByRows(tuple((float(rows), peak * share) for rows, share in shares))


def _peer(gpu: Gpu, link: Figure) -> float:
    if gpu.device_to_device_bytes_per_s is not None:
        return gpu.device_to_device_bytes_per_s.value
    if gpu.nvlink_peers:
        capability = gpu.compute_capability or (0, 0)
        return _NVLINK_BYTES_PER_S.get(capability, _NVLINK_OLDER_BYTES_PER_S)
    return link.value * _PEER_SHARE_OF_HOST_LINK
