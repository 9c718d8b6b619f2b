"""Decodes and long prompts under vLLM's scheduler and under the plugin's, on two CPU ranks.

    python benchmarks/scheduler.py [--layers 1,7] [--rounds 3]

Starts two servers of one model (random weights, the shape of a 0.5B Llama by default), one
for each scheduler, and gives them the same loads in turns, so that drift hits both alike:

* ``burst``: 8 requests at once, whose prompts exceed one step's token budget, so that vLLM
  puts them into several batches;
* ``staggered``: 8 requests, 0.3 s apart;
* ``long prompt``: 3 requests decode, then one comes with 1,500 prompt tokens.

Prints medians over the rounds of: time per output token (TPOT), the longest time between two
tokens of a request that was already decoding, the long prompt's time to first token,
output tokens per second, and requests per decode batch.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import aiohttp

from hetctl.launch.port import free_port
from hetctl.model.tiny import write_tiny

SHAPE = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32}
SHAPE |= {"num_key_value_heads": 8, "head_dim": 64}
SCHEDULERS = ("vllm", "hetero")
TOKEN_BUDGET = 512
START_TIMEOUT_S = 240
LOAD_TIMEOUT_S = 180


@dataclass(frozen=True)
class Call:
    """One request of a load."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


LOADS = {
    "burst": [Call(0, 200, 64)] * 8,
    "staggered": [Call(0.3 * i, 16, 64) for i in range(8)],
    "long prompt": [*[Call(0.1 * i, 16, 96) for i in range(3)], Call(2, 1500, 8)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="1,7", help="layers of the two stages")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    # So that the servers end, too, when this is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    layers = [int(count) for count in args.layers.split(",")]
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        model = write_model(Path(folder) / "model", sum(layers))
        urls = {
            name: servers.enter_context(server(model, name, args.layers)) for name in SCHEDULERS
        }
        for round_ in range(args.rounds + 1):
            for load, calls in LOADS.items():
                for name in SCHEDULERS:
                    measured = asyncio.run(run(urls[name], model, calls, f"{round_}"))
                    if round_:  # the first warms both servers up
                        results.setdefault((load, name), []).append(measured)
    show(results)


def show(results: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    print(f"{'load':12} {'figure':28} {'vllm':>9} {'hetero':>9} {'vllm/hetero':>12}")
    for load in LOADS:
        for figure in results[load, "vllm"][0]:
            vllm, hetero = (
                statistics.median(one[figure] for one in results[load, name]) for name in SCHEDULERS
            )
            print(f"{load:12} {figure:28} {vllm:9.2f} {hetero:9.2f} {vllm / hetero:12.2f}")


def write_model(folder: Path, layers: int) -> Path:
    """The demo model's tokenizer, and a larger shape to be filled with random weights."""
    write_tiny(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config |= {**SHAPE, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@contextmanager
def server(model: Path, scheduler: str, layers: str) -> Iterator[str]:
    """``vllm serve`` over two CPU ranks; yields its address."""
    port = free_port()
    first, second = (int(count) for count in layers.split(","))
    cpus = sorted(os.sched_getaffinity(0))
    ranks = [
        {"rank": 0, "device": "cpu", "layers": [0, first], "cpus": cpus},
        {"rank": 1, "device": "cpu", "layers": [first, first + second], "cpus": cpus},
    ]
    plugin = Path(__file__).parent / "tiled_weights"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(plugin), os.environ.get("PYTHONPATH")))),
        "VLLM_HETERO_RANK_MAP": json.dumps({"schema": "vllm_hetero.rank_map/1", "ranks": ranks}),
        "VLLM_HETERO_CPU_KV_CACHE_BYTES": str(1 << 29),
        "VLLM_HETERO_SCHEDULER": scheduler,
    }
    command = ["vllm", "serve", str(model), "--port", str(port), "--load-format", "tiled"]
    command += ["--dtype", "bfloat16", "--pipeline-parallel-size", "2", "--max-model-len", "2048"]
    command += ["--max-num-batched-tokens", str(TOKEN_BUDGET), "--no-enable-prefix-caching"]
    log = model.with_name(f"{scheduler}.log")
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Application startup complete" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        for line in log.read_text().splitlines():
            if "Scheduler: " in line:
                print(line.rpartition("] ")[2])


async def run(url: str, model: Path, calls: list[Call], seed: str) -> dict[str, float]:
    """One load; figures by name."""
    timeout = aiohttp.ClientTimeout(total=LOAD_TIMEOUT_S)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        before = await decode_batches(session)
        start_s = time.monotonic()
        times = await asyncio.gather(
            *(
                ask(session, model, call, random.Random(f"{seed} {i}"))
                for i, call in enumerate(calls)
            )
        )
        seconds = time.monotonic() - start_s
        batches, tokens = (
            b - a for a, b in zip(before, await decode_batches(session), strict=True)
        )
    decoding = [t for t, call in zip(times, calls, strict=True) if call.prompt_tokens < 1000]
    figures = {
        "TPOT, ms": 1e3 * statistics.mean((t[-1] - t[0]) / (len(t) - 1) for t in decoding),
        "longest gap, ms": 1e3 * max(b - a for t in decoding for a, b in pairwise(t)),
        "output tokens/s": sum(call.output_tokens for call in calls) / seconds,
        "output tokens per step": tokens / batches,
    }
    for call, t in zip(calls, times, strict=True):
        if call.prompt_tokens >= 1000:
            figures["its TTFT, ms"] = 1e3 * (t[0] - start_s - call.at_s)
    return figures


async def ask(
    session: aiohttp.ClientSession, model: Path, call: Call, generator: random.Random
) -> list[float]:
    """Arrival times of the answer's tokens."""
    await asyncio.sleep(call.at_s)
    body = {
        "model": str(model),
        "prompt": [generator.randrange(8, 1000) for _ in range(call.prompt_tokens)],
        "max_tokens": call.output_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "return_token_ids": True,
    }
    times: list[float] = []
    async with session.post("/v1/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                tokens = json.loads(line[6:])["choices"][0]["token_ids"] or []
                times += [time.monotonic()] * len(tokens)
    assert len(times) == call.output_tokens, f"{len(times)} tokens came"
    return times


async def decode_batches(session: aiohttp.ClientSession) -> tuple[float, float]:
    """Steps that gave tokens, and the tokens, since the start."""
    async with session.get("/metrics") as answer:
        text = await answer.text()

    def total(name: str) -> float:
        return sum(float(v) for v in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", text, re.M))

    return total("vllm:iteration_tokens_total_count"), total("vllm:generation_tokens_total")


if __name__ == "__main__":
    main()
