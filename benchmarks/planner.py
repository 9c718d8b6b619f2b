"""How long planning takes: 80 layers over 8 GPUs and 4 NUMA nodes, and far beyond.

Prints the time of the solve alone and of whole processes, imports and output included, with
the bytecode of every module cached as an installation has it::

    python benchmarks/planner.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hetctl.document import Figure
from hetctl.machine import Core, Cpu, Gpu, Machine, NumaNode
from hetctl.model.config import read_model_spec
from hetctl.model.spec import ModelSpec
from hetctl.planner import make_plan
from hetctl.profiles.machines import load_named_machine
from hetctl.units import GIB, format_duration
from hetctl.workload import Workload

SOLVES = 20
PROCESSES = 10

CPU = Cpu(model="benchmark CPU", isa=("avx2", "avx512f"))

LLAMA_70B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}


def rate(value: float) -> Figure:
    return Figure(value=value, source="estimate")


def big_machine() -> Machine:
    """8 GPUs of 24 GiB and 4 NUMA nodes of 32 cores, no two with the same free memory."""
    gpus = [
        Gpu(
            index=i,
            name="benchmark GPU",
            memory_total_bytes=24 * GIB,
            memory_free_bytes=(21 * GIB) - i * GIB // 64,
            memory_read_bytes_per_s=rate(1e12),
            matmul_bf16_flops=rate(165e12),
            host_to_device_bytes_per_s=rate(25e9),
        )
        for i in range(8)
    ]
    nodes = [
        NumaNode(
            id=i,
            cores=tuple(Core(cpus=(cpu,)) for cpu in range(32 * i, 32 * i + 32)),
            memory_total_bytes=256 * GIB,
            memory_free_bytes=(240 - i) * GIB,
            memory_read_bytes_per_s=rate(200e9),
            matmul_bf16_flops=rate(10e12),
        )
        for i in range(4)
    ]
    return Machine(cpu=CPU, gpus=tuple(gpus), numa_nodes=tuple(nodes))


def huge_machine() -> Machine:
    """48 GPUs of 8 to 10 GiB and 16 NUMA nodes, in groups of different speed."""
    gpus = [
        Gpu(
            index=i,
            name="benchmark GPU",
            memory_total_bytes=(8 + i % 3) * GIB,
            memory_free_bytes=(8 + i % 3) * GIB,
            memory_read_bytes_per_s=rate((1 + i % 4) * 1e12),
            matmul_bf16_flops=rate(165e12),
            host_to_device_bytes_per_s=rate(25e9),
        )
        for i in range(48)
    ]
    nodes = [
        NumaNode(
            id=i,
            cores=tuple(Core(cpus=(cpu,)) for cpu in range(16 * i, 16 * i + 16)),
            memory_total_bytes=128 * GIB,
            memory_free_bytes=(64 + i % 5) * GIB,
            memory_read_bytes_per_s=rate((80 + i % 4) * 1e9),
            matmul_bf16_flops=rate(10e12),
        )
        for i in range(16)
    ]
    return Machine(cpu=CPU, gpus=tuple(gpus), numa_nodes=tuple(nodes))


def huge_model(folder: Path) -> ModelSpec:
    """1,000 layers of 300 MB."""
    config = LLAMA_70B | {"hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 8192}
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1000}))
    return read_model_spec(str(folder))


def timed(action: Callable[[], object], times: int) -> list[float]:
    """Wall seconds of each call."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return found


def timed_process(arguments: list[str], cache: str) -> list[float]:
    """Wall seconds of Python processes, after one that fills the bytecode cache."""
    env = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

    def run() -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=env)

    run()
    return timed(run, PROCESSES)


def main() -> None:
    table = Table("80 layers, 8 GPUs, 4 NUMA nodes", "median", "fastest", "slowest", "of")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(LLAMA_70B))
        machine_file = folder / "machine.json"
        machine = big_machine()
        machine.save(machine_file)
        spec = read_model_spec(name)
        cache = str(folder / "bytecode")
        hetctl = ["-m", "hetctl"]
        floor = "import typer, pydantic.main, rich.table"

        (folder / "huge").mkdir()
        small = load_named_machine("h200-box")
        huge, many = huge_machine(), huge_model(folder / "huge")
        load = Workload(max_model_len=2048)
        rows = {
            "make_plan": timed(lambda: make_plan(machine, spec, Workload()), SOLVES),
            "make_plan, 1 GPU and 1 NUMA node": timed(
                lambda: make_plan(small, spec, Workload()), SOLVES
            ),
            "the same, and what would change it": timed(
                lambda: make_plan(small, spec, Workload(), explore=True), SOLVES
            ),
            "make_plan, 1,000 layers, 64 devices": timed(
                lambda: make_plan(huge, many, load), SOLVES // 4
            ),
            "hetctl plan": timed_process(
                [*hetctl, "plan", name, "--machine", str(machine_file)], cache
            ),
            "hetctl plan, 1 GPU and 1 NUMA node": timed_process(
                [*hetctl, "plan", name, "--machine", "h200-box"], cache
            ),
            "hetctl plan --help": timed_process([*hetctl, "plan", "--help"], cache),
            f"python -c '{floor}'": timed_process(["-c", floor], cache),
            "python -c pass": timed_process(["-c", "pass"], cache),
        }
    for label, times in rows.items():
        figures = (statistics.median(times), min(times), max(times))
        table.add_row(label, *map(format_duration, figures), str(len(times)))
    Console().print(table)


if __name__ == "__main__":
    main()
