"""The two schedulers over simulated pipelines: what each would reach on stages of given cost.

    python benchmarks/scheduler_simulation.py

vLLM's scheduler and engine loop are real; the stages' times are not (see
tests/runtime/scheduling/pipeline.py). For machines that are not at hand: a socket beside a
GPU, and equal sockets.
"""

import logging
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from vllm.v1.core.sched.scheduler import Scheduler

from hetctl.model.tiny import write_tiny
from tests.runtime.scheduling.pipeline import Pipeline, Stream, stage
from vllm_hetero.scheduling.scheduler import HeterogeneousScheduler

# 24 of 32 layers of an 8B model on an H200, and 8 on 16 cores (docs/results, design).
GPU, CPU = stage(0.004, 0.00004), stage(0.057, 0.0013)
# A stage bound by computing.
SOCKET = stage(0.010, 0.003)
PIPELINES = {
    "GPU, CPU": [GPU, CPU],
    "2 equal sockets": [SOCKET] * 2,
    "3 equal sockets": [SOCKET] * 3,
}


def loads() -> dict[str, list[Stream]]:
    """Fresh requests, by name of the load."""
    draw = random.Random(1)
    arrivals = [0.0]
    for _ in range(99):
        arrivals.append(arrivals[-1] + draw.expovariate(1.2))
    return {
        "8 prompts of 400 at once": [Stream(f"r{i}", 0, 400, 300) for i in range(8)],
        "8 requests, 0.3 s apart": [Stream(f"r{i}", 0.3 * i, 32, 300) for i in range(8)],
        "32 requests at once": [Stream(f"r{i}", 0, 32, 300) for i in range(32)],
        "4 decode, 8,000 tokens come": [
            *(Stream(f"r{i}", 0.3 * i, 32, 300) for i in range(4)),
            Stream("long", 6, 8000, 20),
        ],
        "1.2 requests/s, 10 to 400 tokens": [
            Stream(f"r{i}", at, draw.randint(10, 400), draw.randint(20, 200))
            for i, at in enumerate(arrivals)
        ],
    }


def main() -> None:
    logging.disable(logging.WARNING)
    print(f"{'pipeline':16} {'load':33} {'tokens/s':>15} {'ratio':>6} {'longest gap, s':>15}")
    with tempfile.TemporaryDirectory() as folder:
        write_tiny(Path(folder) / "model")
        for name, stages in PIPELINES.items():
            for load in loads():
                rates, gaps = [], []
                for kind in (Scheduler, HeterogeneousScheduler):
                    streams = loads()[load]
                    seconds = Pipeline(Path(folder) / "model", kind, stages).run(streams)
                    rates.append(sum(len(s.tokens) for s in streams) / seconds)
                    gaps.append(max(max(s.gaps_s()) for s in streams))
                print(
                    f"{name:16} {load:33} {rates[0]:7.1f} {rates[1]:7.1f} "
                    f"{rates[1] / rates[0]:6.2f} {gaps[0]:7.2f} {gaps[1]:7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
