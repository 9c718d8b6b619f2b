"""How long a stage takes: a roofline per layer, plus launches and hops. In seconds.

The planner minimises the objective, the time per output token at the workload's
concurrency with the prefill's share::

    decode step of the whole batch + concurrency x prefill of one prompt / output length

In a closed loop of C requests, each request sees O decode steps, its own prefill and
those of the C - 1 others. All requests step together, and a mixed pipeline alternates
(one stage works while the others wait), so the times of the stages add up. Then
``concurrency / objective`` is the throughput.
"""

from dataclasses import dataclass
from itertools import accumulate

from hetctl.model.spec import DTYPE_BYTES, LayerSpec, ModelSpec
from hetctl.planner.device import Device, Kind
from hetctl.workload import Workload

# Share of the memory rate that decode kernels reach. CUDA: an 8B model in bfloat16 steps
# in 5.1 ms on an H200 with CUDA graphs, 3.7 ms of it at 0.85 of 4.8 TB/s. CPU: 65 to 82 GB/s in
# GEMMs of 1 to 8 rows where plain reads run at 87 to 96 GB/s (oneDNN, a Xeon with AMX).
_READ_EFFICIENCY: dict[Kind, float] = {"cuda": 0.85, "cpu": 0.8}

# Share of the matrix rate that a prefill reaches. CUDA: prefills of dense models reach half to
# two thirds of the datasheet. CPU: 2.5 TFLOP/s in a whole stage where a GEMM alone does
# 2.5 to 4.4 (same Xeon).
_MATMUL_EFFICIENCY: dict[Kind, float] = {"cuda": 0.55, "cpu": 0.8}

# Kernel launches, norms and barriers of a layer, whatever its size. CUDA: 5.1 ms per step less
# the reads and the engine's share, over 32 layers of graph replay. CPU: about ten
# parallel regions of 15 us.
_LAYER_OVERHEAD_S: dict[Kind, float] = {"cuda": 20e-6, "cpu": 150e-6}

# To hand activations over: a copy of 8 KB with synchronisation takes 15 to 19 us either way
# (H200, PCIe 5); a CPU rank goes through Gloo's loopback sockets and wakes a thread.
_HOP_LATENCY_S: dict[Kind, float] = {"cuda": 17e-6, "cpu": 60e-6}

# Scheduling, sampling and detokenising, between the steps: 5.1, 6.5, 9.1 ms per step at 1, 8, 64
# sequences on an H200, less the above.
_STEP_OVERHEAD_S = 0.7e-3
_STEP_OVERHEAD_PER_SEQUENCE_S = 50e-6

# vLLM hands over the hidden state and the residual (IntermediateTensors of its models).
_TENSORS_PER_HOP = 2


@dataclass(frozen=True, slots=True)
class Roofline:
    """Time of some work on a device: the longer of reading and computing, and a floor."""

    read_s: float
    compute_s: float
    overhead_s: float = 0.0

    @property
    def total_s(self) -> float:
        return max(self.read_s, self.compute_s) + self.overhead_s


@dataclass(frozen=True, slots=True)
class CostModel:
    """Times of any stage on one device. Tuples over layers are prefix sums."""

    decode_s: tuple[float, ...]
    prefill_s: tuple[float, ...]
    objective_s: tuple[float, ...]
    edge_decode_s: tuple[float, float, float, float]
    """Head and hops of a stage: index ``first + 2 * last``."""
    edge_prefill_s: tuple[float, float, float, float]
    edge_objective_s: tuple[float, float, float, float]
    read_s: tuple[float, ...]
    compute_s: tuple[float, ...]


def cost_model(spec: ModelSpec, workload: Workload, device: Device) -> CostModel:
    """Times of ``spec`` on ``device`` under ``workload``."""
    kinds: dict[LayerSpec, tuple[Roofline, Roofline]] = {}
    decode, prefill = [], []
    for layer in spec.layers:
        if layer not in kinds:
            kinds[layer] = (
                _decode_layer(layer, spec, workload, device),
                _prefill_layer(layer, spec, workload, device),
            )
        decode.append(kinds[layer][0])
        prefill.append(kinds[layer][1])
    share = workload.concurrency / workload.output_len
    edges = [_edge(spec, workload, device, bool(i & 1), bool(i & 2)) for i in range(4)]
    return CostModel(
        decode_s=_sums([cost.total_s for cost in decode]),
        prefill_s=_sums([cost.total_s for cost in prefill]),
        objective_s=_sums(
            [d.total_s + share * p.total_s for d, p in zip(decode, prefill, strict=True)]
        ),
        edge_decode_s=_four([edge[0] for edge in edges]),
        edge_prefill_s=_four([edge[1] for edge in edges]),
        edge_objective_s=_four([edge[0] + share * edge[1] for edge in edges]),
        read_s=_sums([cost.read_s for cost in decode]),
        compute_s=_sums([cost.compute_s for cost in decode]),
    )


def step_overhead_s(workload: Workload) -> float:
    """The engine's own time between two steps, on no rank's account."""
    return _STEP_OVERHEAD_S + workload.concurrency * _STEP_OVERHEAD_PER_SEQUENCE_S


def decode_weight_bytes(layer: LayerSpec, sequences: int) -> float:
    """Bytes of weights read in one step of ``sequences`` sequences.

    With experts, tokens that choose k of E independently leave an expert untouched with
    probability (1 - k/E)^sequences; the rest is read.
    """
    experts, used = layer.experts, layer.experts_per_token
    if not experts or used >= experts:
        return float(layer.weight_bytes)
    per_expert = (layer.weight_bytes - layer.decode_weight_bytes) / (experts - used)
    touched = experts * (1 - (1 - used / experts) ** sequences)
    return layer.weight_bytes - (experts - touched) * per_expert


def _decode_layer(
    layer: LayerSpec, spec: ModelSpec, workload: Workload, device: Device
) -> Roofline:
    sequences = workload.concurrency
    context = _visible(layer, workload.input_len + workload.output_len / 2)
    read = decode_weight_bytes(layer, sequences)
    read += sequences * context * layer.kv_bytes_per_token
    flops = sequences * (layer.flops_per_token + _attention_flops(spec, context))
    return _roofline(device, read, flops, _LAYER_OVERHEAD_S[device.kind])


def _prefill_layer(
    layer: LayerSpec, spec: ModelSpec, workload: Workload, device: Device
) -> Roofline:
    tokens = workload.input_len
    # Each token sees half of the prompt on average (causal mask).
    context = _visible(layer, tokens / 2)
    read = decode_weight_bytes(layer, tokens)
    flops = tokens * (layer.flops_per_token + _attention_flops(spec, context))
    return _roofline(device, read, flops, _LAYER_OVERHEAD_S[device.kind])


def _edge(
    spec: ModelSpec, workload: Workload, device: Device, first: bool, last: bool
) -> tuple[float, float]:
    """Decode and prefill time of what a stage does besides its layers."""
    hops = (not first) + (not last)
    decode = hops * _hop_s(spec, device, workload.concurrency)
    prefill = hops * _hop_s(spec, device, workload.input_len)
    if last:
        flops = 2.0 * spec.vocab_size * spec.hidden_size
        decode += _roofline(device, spec.head_bytes, workload.concurrency * flops).total_s
        prefill += _roofline(device, spec.head_bytes, flops).total_s
    return decode, prefill


def _hop_s(spec: ModelSpec, device: Device, tokens: int) -> float:
    """One side of a hand-over: a boundary costs its sender's and its receiver's."""
    size = _TENSORS_PER_HOP * tokens * spec.hidden_size * DTYPE_BYTES[spec.dtype]
    return _HOP_LATENCY_S[device.kind] + size / device.link_bytes_per_s


def _roofline(device: Device, read: float, flops: float, overhead_s: float = 0.0) -> Roofline:
    return Roofline(
        read_s=read / (device.memory_read_bytes_per_s * _READ_EFFICIENCY[device.kind]),
        compute_s=flops / (device.matmul_flops * _MATMUL_EFFICIENCY[device.kind]),
        overhead_s=overhead_s,
    )


def _visible(layer: LayerSpec, context: float) -> float:
    return min(context, layer.sliding_window) if layer.sliding_window else context


def _attention_flops(spec: ModelSpec, context: float) -> float:
    """Scores and weighted sum: two multiply-adds per head, channel and visible token."""
    return 4.0 * spec.attention_heads * spec.head_dim * context


def _sums(values: list[float]) -> tuple[float, ...]:
    return tuple(accumulate(values, initial=0.0))


def _four(values: list[float]) -> tuple[float, float, float, float]:
    middle, first, last, only = values
    return middle, first, last, only
