"""How fast each linear kernel of a CPU rank reads its weights, and what ``auto`` picks.

    python benchmarks/cpu_linear.py [--threads N] [--shapes NxK,...] [--rows R,...]
                                    [--dtypes bfloat16,...] [--json FILE]

Runs with the threads, pinning and preloaded libraries of a CPU rank. Each kernel takes copies
of the weights in turns, so that they come from memory and not from a cache. A figure is bytes
of weights per second, the best of several repeats taken by turns among the kernels; in
brackets, its share of the rate at which this machine's threads read memory, measured in the
same run. ``auto`` is measured like the kernels, after it has made its own choice.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dram import dram_read_bytes_per_s

SHAPES = "6144x4096,4096x4096,28672x4096,4096x14336"
"""Of an 8B Llama: qkv, output, gate and up, down."""
ROWS = "1,2,3,4,8,16,32,64,256"
ROUNDS = 3
COPIES_BYTES = 3 * 2**30
"""For the copies of a layer in all forms: well beyond any cache."""


@dataclass
class Layer:
    """One shape and type."""

    shape: str
    dtype: str
    weight_mib: float
    auto: str
    auto_measuring_s: float
    gb_per_s: dict[str, dict[int, float]] = field(default_factory=dict)
    """By kernel and number of rows."""
    memory_mib: dict[str, float] = field(default_factory=dict)
    """Resident memory that a form of the weights adds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="default: as a CPU rank on this machine")
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--rows", default=ROWS)
    parser.add_argument("--dtypes", default="bfloat16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if os.environ.get("VLLM_HETERO_ROLE") != "cpu":
        become_a_cpu_rank(options.threads)
    import torch
    from vllm.platforms import current_platform

    assert current_platform.is_cpu()
    import vllm._custom_ops  # noqa: F401  (loads the operators)

    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    rows = [int(number) for number in options.rows.split(",")]
    read = dram_read_bytes_per_s()
    machine = {
        "cpu": cpu_model(),
        "amx": bool(torch.cpu._is_amx_tile_supported()),
        "threads": torch.get_num_threads(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "preloaded": os.environ.get("LD_PRELOAD", ""),
        "onednn_max_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "dram_read_gb_per_s": read / 1e9,
        "dispatch_overhead_us": dispatch_overhead_s() * 1e6,
    }
    print(
        f"{machine['cpu']}, AMX {'yes' if machine['amx'] else 'no'}, {machine['threads']} threads; "
        f"memory reads {read / 1e9:.1f} GB/s; choosing by rows costs "
        f"{machine['dispatch_overhead_us']:.2f} us per call\n"
    )
    layers = []
    for dtype in options.dtypes.split(","):
        for n, k in shapes:
            layers.append(measured_layer(n, k, getattr(torch, dtype), rows))
            show(layers[-1], rows, read / 1e9)
    if options.json:
        document = {"machine": machine, "layers": [asdict(layer) for layer in layers]}
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


def become_a_cpu_rank(threads: int | None) -> None:
    """Start again with the environment of a CPU rank; OpenMP reads it before Python runs."""
    from vllm_hetero.default_map import compute_cores
    from vllm_hetero.rank_environment import cpu_rank_variables
    from vllm_hetero.rank_map import Rank
    from vllm_hetero.topology import usable_cores

    cores_of = usable_cores()
    node, cores = min(cores_of.items())
    cpus = tuple(compute_cores(cores_of, 0)[node] if threads is None else cores[:threads])
    if threads is not None and len(cpus) < threads:
        raise SystemExit(f"--threads is {threads}, but NUMA node {node} has {len(cpus)} cores.")
    variables = cpu_rank_variables(Rank(0, "cpu", cpus=cpus, numa_node=node))
    environment = {**os.environ, "VLLM_HETEROGENEOUS_PLATFORM": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    for name, value in variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    os.sched_setaffinity(0, cpus)
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def dispatch_overhead_s() -> float:
    """Time of a call of a layer over that of its kernel, on weights that fit a cache."""
    import torch

    from vllm_hetero.cpu_linear.choice import Step
    from vllm_hetero.cpu_linear.kernels import prepare
    from vllm_hetero.cpu_linear.layer import RowDispatch

    weight, x = torch.zeros(64, 64), torch.zeros(1, 64)
    kernel = prepare("onednn", weight)
    table = (Step(4, "onednn"), Step(None, "onednn"))
    dispatch = RowDispatch((64, 64), weight.dtype, table, {"onednn": kernel})
    calls = 5000

    def per_call(call) -> float:
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(calls):
                call()
            best = min(best, time.perf_counter() - began)
        return best / calls

    return per_call(lambda: dispatch(x, weight, None)) - per_call(lambda: kernel(x, None))


def measured_layer(n: int, k: int, dtype, rows: list[int]) -> Layer:
    import torch

    from vllm_hetero.cpu_linear.choice import describe, kernels_of
    from vllm_hetero.cpu_linear.kernels import takes
    from vllm_hetero.cpu_linear.layer import RowDispatch
    from vllm_hetero.cpu_linear.measure import measure, sample
    from vllm_hetero.cpu_linear.policy import LinearPolicy

    weight = (torch.rand(n, k) - 0.5).to(dtype)
    policy = LinearPolicy("auto", lambda: 1 << 50)
    table = policy.dispatch_for(weight).table
    layer = Layer(
        shape=f"{n}x{k}",
        dtype=str(dtype).removeprefix("torch."),
        weight_mib=weight.nbytes / 2**20,
        auto=describe(table),
        auto_measuring_s=policy.measured_s,
    )
    kernels = [kernel for kernel in ("packed", "onednn", "torch") if takes(kernel, weight)]
    layer.memory_mib = {kernel: memory_of(kernel, weight) for kernel in kernels}
    taken = sample(weight, kernels, COPIES_BYTES, COPIES_BYTES)
    forms = dict(taken.forms)
    forms["auto"] = [
        as_kernel(RowDispatch((taken.nbytes // (k * weight.itemsize), k), dtype, table, own))
        for own in (
            {kernel: taken.forms[kernel][i] for kernel in kernels_of(table)}
            for i in range(len(taken.forms[kernels[0]]))
        )
    ]
    found = [measure(forms, k, dtype, float("inf"), numbers_of_rows=rows) for _ in range(ROUNDS)]
    layer.gb_per_s = {
        name: {r: taken.nbytes / min(times[name][r] for times in found) / 1e9 for r in rows}
        for name in forms
    }
    return layer


def as_kernel(dispatch):
    return lambda x, bias: dispatch(x, x, bias)


def memory_of(kernel: str, weight) -> float:
    """Resident MiB that the second of two equal forms adds; the first makes room for both."""
    import psutil

    from vllm_hetero.cpu_linear.kernels import prepare

    process = psutil.Process()
    forms = [prepare(kernel, weight)]
    gc.collect()
    before = process.memory_info().rss
    forms.append(prepare(kernel, weight))
    return (process.memory_info().rss - before) / 2**20


def show(layer: Layer, rows: list[int], read_gb_per_s: float) -> None:
    print(f"{layer.dtype} {layer.shape}, {layer.weight_mib:.1f} MiB")
    print(f"{'rows':>8}" + "".join(f"{name:>15}" for name in layer.gb_per_s))
    for r in rows:
        rates = (by_rows[r] for by_rows in layer.gb_per_s.values())
        print(f"{r:>8}" + "".join(f"{rate:>8.1f} ({rate / read_gb_per_s:.2f})" for rate in rates))
    memory = ", ".join(f"{kernel} {mib:.0f} MiB" for kernel, mib in layer.memory_mib.items())
    print(f"  memory beside the original: {memory}")
    print(f"  auto: {layer.auto}; chosen in {layer.auto_measuring_s:.2f} s\n", flush=True)


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
