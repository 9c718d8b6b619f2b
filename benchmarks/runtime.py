"""What a hybrid run costs beside reading its weights, and beside vLLM's own offloading.

    python benchmarks/runtime.py [--cpu-layers 8] [--sequences 1,8,64] [--json FILE]

One engine after the other, each in a process of its own, runs the shape of an 8B Llama in
bf16 (random weights; ``--model`` takes another ``config.json``):

* ``gpu``              all layers on one GPU, CUDA graphs on;
* ``hybrid``           the first layers on the CPU, as a pipeline stage, as the planner would:
                       the embedding is looked up there, and the GPU reads the large head;
* ``hybrid-cpu-last``  the last layers and the head on the CPU;
* ``prefetch``         vLLM's prefetch offloading of as many layers, the best a vLLM user has.

A decode step's time is the difference of a long and a short generation of the same prompts,
per token. The stages' parts come from the ranks (``VLLM_HETERO_STAGE_TIMES``): layers, logits
and sampling. Glue is what is left of the time from one beginning of the first stage to the next;
these are medians over the steps of full batches. The CPU stage's rate counts the weights that it
reads once per step, against the rate at which the same threads of the same rank read memory,
taken before and after. ``decode`` is output tokens per second of a step, ``+ prompts`` those of a
generation with its prompts. All ratios are of one run. Without a GPU, the hybrids have two CPU
ranks and the rest is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dram import of_cpu_rank
from full_batches import engine, generate
from runtime_table import print_table

LLAMA_8B = Path(__file__).parent / "llama_8b"
ENGINE_TIMEOUT_S = 280
SHORT, LONG = 8, 32
REPEATS = 2
CPU_KV_CACHE_BYTES = 4 << 30
TILED = Path(__file__).parent / "tiled_weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=LLAMA_8B, help="folder with config.json")
    parser.add_argument("--cpu-layers", type=int, default=8)
    parser.add_argument("--cpu-threads", type=int, help="of a CPU rank, if not as by default")
    parser.add_argument("--sequences", default="1,8,64")
    parser.add_argument("--engines", default="prefetch,gpu,hybrid,hybrid-cpu-last")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        measure_engine(args)
        return
    config = json.loads((args.model / "config.json").read_text())
    report: dict = {
        "model": args.model.name,
        "layers": config["num_hidden_layers"],
        "cpu_layers": args.cpu_layers,
        "engines": {},
    }
    for name in engines(args.engines.split(",")):
        report["engines"][name] = run_engine(name, args)
        if args.json:
            args.json.write_text(json.dumps(report, indent=1))
    print_table(report, config)


def has_gpu() -> bool:
    from vllm_hetero import env

    return env.visible_gpus() > 0


def engines(wanted: list[str]) -> list[str]:
    """Those of ``wanted`` that can run here."""
    return [name for name in wanted if has_gpu() or name.startswith("hybrid")]


def run_engine(name: str, args: argparse.Namespace) -> dict:
    """Measure one engine in a new process; its result, or the error that it ended with."""
    print(f"{name}: starting", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--engine", name, "--model", str(args.model)]
        command += ["--cpu-layers", str(args.cpu_layers), "--sequences", args.sequences]
        command += ["--json", str(out)]
        log = Path(os.environ.get("OUT", ".")) / f"runtime-{name}.log"
        with log.open("w") as file:
            try:
                code = subprocess.run(
                    command,
                    stdout=file,
                    stderr=file,
                    timeout=ENGINE_TIMEOUT_S,
                    env={**os.environ, **engine_environment(name, args)},
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
        result = json.loads(out.read_text()) if out.exists() else {}
        return {**result, "error": f"exit code {code}; see {log.name}"} if code else result


def engine_environment(name: str, args: argparse.Namespace) -> dict[str, str]:
    path = f"{TILED}:{os.environ.get('PYTHONPATH', '')}"
    common = {"PYTHONPATH": path, "VLLM_USE_V2_MODEL_RUNNER": "0", "HF_HUB_OFFLINE": "1"}
    if name == "prefetch":
        return common
    layers = json.loads((args.model / "config.json").read_text())["num_hidden_layers"]
    first = "cuda:0" if has_gpu() else "cpu"
    stages = [(first, layers)]
    if name.startswith("hybrid"):
        stages = [("cpu", args.cpu_layers), (first, layers - args.cpu_layers)]
    if name == "hybrid-cpu-last":
        stages.reverse()
    return {
        **common,
        "VLLM_HETERO_RANK_MAP": json.dumps(rank_map(stages, args.cpu_threads)),
        "VLLM_HETERO_STAGE_TIMES": "1",
        # For dram.of_cpu_rank, which goes to the ranks.
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
    }


def rank_map(stages: list[tuple[str, int]], cpu_threads: int | None = None) -> dict:
    """The default map's places for ``stages``, each a device and its number of layers."""
    from vllm_hetero.default_map import default_rank_map
    from vllm_hetero.topology import usable_cores

    gpus = sum(device != "cpu" for device, _ in stages)
    places = default_rank_map(len(stages), gpus, usable_cores()).ranks
    cpu_places = [place for place in places if place.is_cpu]
    ranks, start = [], 0
    for number, (device, count) in enumerate(stages):
        rank = {"rank": number, "device": device, "layers": [start, start + count]}
        if device == "cpu":
            place = cpu_places.pop(0)
            cpus = list(place.cpus)
            if cpu_threads is not None:
                cpus = usable_cores()[place.numa_node][-cpu_threads:]
            rank |= {"cpus": cpus, "numa_node": place.numa_node}
            rank["kv_cache_bytes"] = CPU_KV_CACHE_BYTES
        ranks.append(rank)
        start += count
    return {"schema": "vllm_hetero.rank_map/1", "ranks": ranks}


def measure_engine(args: argparse.Namespace) -> None:
    """In the child: start the engine, time decode steps, write JSON."""
    sequences = [int(count) for count in args.sequences.split(",")]
    split = 2 if args.engine.startswith("hybrid") else 1
    started = time.perf_counter()
    llm = engine(
        args.model,
        max(sequences),
        pipeline_parallel_size=split,
        gpu_memory_utilization=0.5,
        **(prefetch_options(args) if args.engine == "prefetch" else {}),
    )
    result: dict = {"start_s": time.perf_counter() - started, "batches": {}}

    has_stages, is_hybrid = args.engine != "prefetch", args.engine.startswith("hybrid")
    if is_hybrid:
        result["dram_read_bytes_per_s"] = [read_rate(llm)]
    for count in sequences:
        generate(llm, count, SHORT)
        steps, rates, parts = [], [], []
        for _ in range(REPEATS):
            short = generate(llm, count, SHORT)
            if has_stages:
                llm.collective_rpc("stage_times")
            long = generate(llm, count, LONG)
            if has_stages:
                parts += full_steps(llm.collective_rpc("stage_times"))
            steps.append((long - short) / (LONG - SHORT))
            rates.append(count * LONG / long)
        batch = {
            "step_s": statistics.median(steps),
            "output_tokens_per_s": statistics.median(rates),
        }
        if has_stages:
            ranks = range(len(parts[0].stages_s))
            batch["stages_s"] = [statistics.median(p.stages_s[r] for p in parts) for r in ranks]
            batch["heads_s"] = [statistics.median(p.heads_s[r] for p in parts) for r in ranks]
            batch["glue_s"] = statistics.median(p.period_s - sum(p.stages_s) for p in parts)
        result["batches"][str(count)] = batch
        args.json.write_text(json.dumps(result))
    if is_hybrid:
        result["dram_read_bytes_per_s"].append(read_rate(llm))
        args.json.write_text(json.dumps(result))


def read_rate(llm) -> float:
    """Bytes per second that a CPU rank's threads read, the slowest rank's."""
    return min(rate for rate in llm.collective_rpc(of_cpu_rank) if rate is not None)


@dataclass(frozen=True)
class Step:
    """A decode step of all sequences together, in seconds."""

    period_s: float
    """Until the first rank began the next one."""
    stages_s: list[float]
    """Each rank's own part."""
    heads_s: list[float]
    """Of it, logits and sampling."""


def full_steps(times: list[list[dict]]) -> list[Step]:
    """The decode steps of all sequences together, from the stage times of each rank."""
    first = times[0]
    (usual, _), *_ = Counter(step["tokens"] for step in first).most_common(1)
    return [
        Step(
            after["begun_s"] - step["begun_s"],
            [rank[i]["seconds"] + rank[i]["head_seconds"] for rank in times],
            [rank[i]["head_seconds"] for rank in times],
        )
        for i, (step, after) in enumerate(pairwise(first))
        if step["tokens"] == after["tokens"] == usual
    ]


def prefetch_options(args: argparse.Namespace) -> dict:
    """Offload ``cpu_layers`` of the layers, spread evenly, and prefetch one ahead."""
    layers = json.loads((args.model / "config.json").read_text())["num_hidden_layers"]
    return {
        "offload_backend": "prefetch",
        "offload_group_size": layers // args.cpu_layers,
        "offload_num_in_group": 1,
        "offload_prefetch_step": 1,
    }


if __name__ == "__main__":
    main()
