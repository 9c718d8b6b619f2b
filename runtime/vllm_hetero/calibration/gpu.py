"""What one GPU does: memory, matrix units, weights by rows, and its links."""

from collections.abc import Callable

import torch
from torch.nn.functional import linear

from vllm_hetero.calibration import Samples
from vllm_hetero.calibration.sampling import timed, timed_on_gpu
from vllm_hetero.calibration.shapes import HIDDEN, LINEAR, MLP, ROWS

_SQUARE = 8192
"""Side of the matrices that show the matrix rate."""

_LAYERS = 2
"""Layers whose weights take turns: together several times a GPU's cache."""

UVA_ROWS = (1, 8, 64, 512, 2048)
COPY_BYTES = (8 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20)
_PEER_BYTES = 256 << 20


def memory_read_rate(device: torch.device, budget_s: float, nbytes: int) -> Samples:
    """Bytes per second of the faster of two plain reductions over ``nbytes``."""
    data = torch.ones(nbytes // 4, device=device)
    reads = (data.sum, data.amax)
    read = min(reads, key=lambda read: min(timed_on_gpu(read, budget_s / 8)))
    return {0: [data.nbytes / seconds for seconds in timed_on_gpu(read, budget_s)]}


def matrix_rate(device: torch.device, budget_s: float, dtype: str) -> Samples:
    """FLOP per second of a GEMM of two large square matrices."""
    kind = getattr(torch, dtype)
    a, b = (torch.rand(_SQUARE, _SQUARE, device=device).to(kind) for _ in "ab")
    out = torch.empty_like(a)
    seconds = timed_on_gpu(lambda: torch.mm(a, b, out=out), budget_s)
    return {0: [2 * _SQUARE**3 / s for s in seconds]}


def weight_read_rate(device: torch.device, budget_s: float) -> Samples:
    """Bytes of bf16 weights per second, by rows: the GEMMs of 8B layers in a CUDA graph."""
    weights = [
        (torch.rand(n, k, device=device) - 0.5).bfloat16()
        for _ in range(_LAYERS)
        for n, k in LINEAR
    ]
    read = sum(weight.nbytes for weight in weights)
    samples: Samples = {}
    for rows in ROWS:
        inputs = {k: torch.rand(rows, k, device=device).bfloat16() for _, k in LINEAR}

        def step(inputs: dict[int, torch.Tensor] = inputs) -> None:
            for weight in weights:
                linear(inputs[weight.shape[1]], weight)

        graph = captured(step)
        seconds = timed_on_gpu(graph.replay, budget_s / len(ROWS))
        samples[rows] = [read / s for s in seconds]
    return samples


def uva_read_rate(device: torch.device, budget_s: float) -> Samples:
    """The same for a weight in pinned host memory that the GPU reads in place, by rows."""
    from vllm.utils.torch_utils import get_accelerator_view_from_cpu_tensor

    host = torch.empty(MLP, HIDDEN, dtype=torch.bfloat16, pin_memory=True).fill_(0.5)
    weight = get_accelerator_view_from_cpu_tensor(host)
    samples: Samples = {}
    for rows in UVA_ROWS:
        x = torch.rand(rows, HIDDEN, device=device).bfloat16()
        seconds = timed_on_gpu(lambda x=x: linear(x, weight), budget_s / len(UVA_ROWS))
        samples[rows] = [host.nbytes / s for s in seconds]
    return samples


def copies(device: torch.device, budget_s: float, to_device: bool) -> Samples:
    """Seconds of a copy between pinned host memory and the GPU, by bytes; the host waits."""
    samples: Samples = {}
    for nbytes in COPY_BYTES:
        host = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True).fill_(1)
        there = torch.empty(nbytes, dtype=torch.uint8, device=device)
        source, target = (host, there) if to_device else (there, host)

        def copy(source: torch.Tensor = source, target: torch.Tensor = target) -> None:
            target.copy_(source, non_blocking=True)
            torch.cuda.synchronize()

        samples[nbytes] = timed(copy, budget_s / len(COPY_BYTES))
    return samples


def peer_copy_rate(device: torch.device, budget_s: float, peer: int) -> Samples:
    """Bytes per second of large copies to another GPU, the way that torch finds."""
    source = torch.ones(_PEER_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty(_PEER_BYTES, dtype=torch.uint8, device=f"cuda:{peer}")

    def copy() -> None:
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize(device)
        torch.cuda.synchronize(peer)

    return {0: [_PEER_BYTES / seconds for seconds in timed(copy, budget_s)]}


def captured(step: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """``step`` as a CUDA graph, after runs in which libraries set themselves up."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph
