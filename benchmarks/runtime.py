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
and sampling. Glue is what is left of the step. The CPU stage's rate counts the weights that it
reads once per step, against the rate at which the same threads read memory. ``decode`` is
output tokens per second of a step, ``+ prompts`` those of a generation with its prompts. All
ratios are of one run. Without a GPU, the hybrids have two CPU ranks and the rest is left out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dram import dram_read_bytes_per_s

LLAMA_8B = Path(__file__).parent / "llama_8b"
ENGINE_TIMEOUT_S = 280
PROMPT_TOKENS = 32
SHORT, LONG = 8, 32
REPEATS = 2
CPU_KV_CACHE_BYTES = 4 << 30
TILED = Path(__file__).parent / "tiled_weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=LLAMA_8B, help="folder with config.json")
    parser.add_argument("--cpu-layers", type=int, default=8)
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
        "dram_read_bytes_per_s": dram_read_bytes_per_s(),
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
        "VLLM_HETERO_RANK_MAP": json.dumps(rank_map(stages)),
        "VLLM_HETERO_STAGE_TIMES": "1",
    }


def rank_map(stages: list[tuple[str, int]]) -> dict:
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
            rank |= {"cpus": list(place.cpus), "numa_node": place.numa_node}
            rank["kv_cache_bytes"] = CPU_KV_CACHE_BYTES
        ranks.append(rank)
        start += count
    return {"schema": "vllm_hetero.rank_map/1", "ranks": ranks}


def measure_engine(args: argparse.Namespace) -> None:
    """In the child: start the engine, time decode steps, write JSON."""
    from vllm import LLM, SamplingParams

    sequences = [int(count) for count in args.sequences.split(",")]
    split = 2 if args.engine.startswith("hybrid") else 1
    started = time.perf_counter()
    llm = LLM(
        str(args.model),
        skip_tokenizer_init=True,
        load_format="tiled",
        dtype="bfloat16",
        max_model_len=1024,
        max_num_seqs=max(sequences),
        max_num_batched_tokens=max(2048, PROMPT_TOKENS * max(sequences)),
        enable_prefix_caching=False,
        pipeline_parallel_size=split,
        gpu_memory_utilization=0.5,
        seed=0,
        **(prefetch_options(args) if args.engine == "prefetch" else {}),
    )
    result = {"start_s": time.perf_counter() - started, "batches": {}}

    def generate(count: int, tokens: int) -> float:
        prompts = [{"prompt_token_ids": [1000 + i] * PROMPT_TOKENS} for i in range(count)]
        sampling = SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        begun = time.perf_counter()
        llm.generate(prompts, sampling, use_tqdm=False)
        return time.perf_counter() - begun

    for count in sequences:
        generate(count, SHORT)
        if args.engine != "prefetch":
            llm.collective_rpc("stage_times")
        steps, rates, stages = [], [], []
        for _ in range(REPEATS):
            short, long = generate(count, SHORT), generate(count, LONG)
            steps.append((long - short) / (LONG - SHORT))
            rates.append(count * LONG / long)
        if args.engine != "prefetch":
            for times in llm.collective_rpc("stage_times"):
                decodes = [t for t in times if t["tokens"] < PROMPT_TOKENS * count]
                stages.append(
                    {
                        part: statistics.median(t[part] for t in decodes)
                        for part in ("seconds", "head_seconds")
                    }
                )
        result["batches"][str(count)] = {
            "step_s": statistics.median(steps),
            "output_tokens_per_s": statistics.median(rates),
            "stages": stages,
        }
        args.json.write_text(json.dumps(result))


def prefetch_options(args: argparse.Namespace) -> dict:
    """Offload ``cpu_layers`` of the layers, spread evenly, and prefetch one ahead."""
    layers = json.loads((args.model / "config.json").read_text())["num_hidden_layers"]
    return {
        "offload_backend": "prefetch",
        "offload_group_size": layers // args.cpu_layers,
        "offload_num_in_group": 1,
        "offload_prefetch_step": 1,
    }


def layer_bytes(config: dict) -> int:
    """Weights of one layer in bf16."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    heads = config["num_attention_heads"] + 2 * config["num_key_value_heads"]
    attention = hidden * head * (heads + config["num_attention_heads"])
    return 2 * (attention + 3 * hidden * inner + 2 * hidden)


def head_bytes(config: dict) -> int:
    """Weights of the layer that makes logits, in bf16."""
    return 2 * config["hidden_size"] * config["vocab_size"]


def print_table(report: dict, config: dict) -> None:
    measured = report["engines"]
    for name, result in measured.items():
        outcome = result.get("error") or f"{result['start_s']:.0f} s to start"
        print(f"{name:16} {outcome}")
    dram = report["dram_read_bytes_per_s"]
    print(f"DRAM read: {dram / 1e9:.1f} GB/s")
    print(
        f"{'engine':16} {'sequences':>9} {'step':>8} {'CPU':>8} {'GPU':>8} {'glue':>8} "
        f"{'CPU/DRAM':>9} {'GPU/share':>9} {'decode':>9} {'/prefetch':>9} "
        f"{'+ prompts':>9} {'/prefetch':>9}"
    )
    prefetch = measured.get("prefetch", {}).get("batches", {})
    for name, result in measured.items():
        for count, batch in result.get("batches", {}).items():
            row = f"{name:16} {count:>9} {milliseconds(batch['step_s'])}"
            if name.startswith("hybrid"):
                gpu = measured.get("gpu", {}).get("batches", {}).get(count)
                row += stage_columns(name, batch, report, config, gpu)
            else:
                row += " " * 46
            other = prefetch.get(count)
            for rate in (decode_rate, whole_rate):
                row += f" {rate(count, batch):9.1f}"
                row += f" {rate(count, batch) / rate(count, other):9.2f}" if other else f"{'-':>10}"
            print(row)


def decode_rate(count: str, batch: dict) -> float:
    """Output tokens per second while all sequences decode."""
    return int(count) / batch["step_s"]


def whole_rate(count: str, batch: dict) -> float:
    """Output tokens per second of the long generation, its prompts' time included."""
    return batch["output_tokens_per_s"]


def stage_columns(name: str, batch: dict, report: dict, config: dict, gpu: dict | None) -> str:
    """CPU stage, GPU stage, glue, rate over DRAM, GPU stage over its share of ``gpu``."""
    cpu_first = name == "hybrid"
    cpu, other = batch["stages"] if cpu_first else reversed(batch["stages"])
    cpu_s, other_s = (stage["seconds"] + stage["head_seconds"] for stage in (cpu, other))
    read = report["cpu_layers"] * layer_bytes(config)
    if not cpu_first:
        read += head_bytes(config)
    share = "-"
    if gpu is not None:
        whole = gpu["stages"][0]
        part = whole["seconds"] * (1 - report["cpu_layers"] / report["layers"])
        share = f"{other_s / (part + (whole['head_seconds'] if cpu_first else 0)):.2f}"
    return (
        f" {milliseconds(cpu_s)} {milliseconds(other_s)} "
        f"{milliseconds(batch['step_s'] - cpu_s - other_s)} "
        f"{read / cpu_s / report['dram_read_bytes_per_s']:9.2f} {share:>9}"
    )


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:6.1f}ms"


if __name__ == "__main__":
    main()
