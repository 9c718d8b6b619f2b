"""Where the time of a CPU stage goes: some layers of a model, alone in an engine.

    python benchmarks/cpu_stage.py [--model DIR] [--layers 8] [--sequences 1,8,64] [--profile DIR]

One CPU rank decodes with random weights. For each number of sequences it prints the time of
the layers in a step, the rate at which they read their weights against what the same threads
read from memory, and with ``--profile`` the operators that take the most time. Variables of the
environment (``VLLM_HETERO_CPU_LINEAR``, ``LD_PRELOAD``, ``OMP_*``) reach the rank, so that two
settings can be compared by two runs.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
from collections import Counter
from pathlib import Path

from full_batches import PROMPT_TOKENS, engine, generate

LLAMA_8B = Path(__file__).parent / "llama_8b"
TILED = Path(__file__).parent / "tiled_weights"
STEPS = 40
PROFILED_STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=LLAMA_8B, help="folder with config.json")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--sequences", default="1,8,64")
    parser.add_argument("--profile", type=Path, help="folder for traces of torch's profiler")
    args = parser.parse_args()
    sequences = [int(count) for count in args.sequences.split(",")]
    from runtime_table import layer_bytes

    from runtime import rank_map

    sys.path.insert(0, str(TILED))
    os.environ |= {
        "VLLM_HETERO_RANK_MAP": json.dumps(rank_map([("cpu", args.layers)])),
        "VLLM_HETERO_STAGE_TIMES": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",
        "HF_HUB_OFFLINE": "1",
    }
    llm = engine(
        args.model,
        max(sequences),
        hf_overrides={"num_hidden_layers": args.layers},
        **profiler(args.profile),
    )
    read = layer_bytes(json.loads((args.model / "config.json").read_text())) * args.layers
    for count in sequences:
        generate(llm, count, 4)
        llm.collective_rpc("stage_times")
        generate(llm, count, STEPS)
        (times,) = llm.collective_rpc("stage_times")
        decodes = [t["seconds"] for t in times if t["tokens"] < PROMPT_TOKENS * count]
        middle, best = statistics.median(decodes), min(decodes)
        print(
            f"{count:4} sequences: {middle * 1e3:6.1f} ms (best {best * 1e3:.1f}), "
            f"{read / middle / 1e9:6.1f} GB/s",
            flush=True,
        )
        if args.profile:
            profile(llm, count, args.profile)


def profiler(folder: Path | None) -> dict:
    """Engine options that let torch's profiler write into ``folder``."""
    if folder is None:
        return {}
    options = {"profiler": "torch", "torch_profiler_dir": str(folder.absolute())}
    return {"profiler_config": options}


def profile(llm, count: int, folder: Path) -> None:
    """Trace a few steps and print the operators by their own time, prompts included."""
    before = set(folder.glob("*.json*"))
    llm.start_profile()
    generate(llm, count, PROFILED_STEPS)
    llm.stop_profile()
    for trace in set(folder.glob("*.json*")) - before:
        print(f"     {trace.name}")
        for name, (microseconds, calls) in own_times(trace).most_common(14):
            print(f"     {microseconds / PROFILED_STEPS / 1e3:8.2f} ms/step {calls:6} x {name:.80}")


def own_times(trace: Path) -> Counter:
    """Time of each operator without what it calls, in us, and calls, by name."""
    opener = gzip.open if trace.suffix == ".gz" else open
    with opener(trace, "rt") as file:
        events = json.load(file)["traceEvents"]
    by_thread: dict = {}
    for event in events:
        if event.get("cat") in ("cpu_op", "user_annotation") and event.get("ph") == "X":
            by_thread.setdefault(event["tid"], []).append(event)
    own: Counter = Counter()
    calls: Counter = Counter()
    for ops in by_thread.values():
        open_ops: list = []
        for op in sorted(ops, key=lambda e: (e["ts"], -e["dur"])):
            while open_ops and open_ops[-1]["ts"] + open_ops[-1]["dur"] <= op["ts"]:
                open_ops.pop()
            if open_ops:
                own[open_ops[-1]["name"]] -= op["dur"]
            own[op["name"]] += op["dur"]
            calls[op["name"]] += 1
            open_ops.append(op)
    return Counter({name: (own[name], calls[name]) for name in own})


if __name__ == "__main__":
    main()
