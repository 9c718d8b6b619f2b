"""What sampling the machine costs: throughput with the sampler over throughput without.

    python benchmarks/telemetry.py MODEL [--pairs 10] [--prompts 32] [--interval SECONDS]

One server, loaded again and again, with the sampler on and off in turn; within a pair the
order changes from pair to pair. Prints the ratio with its 95% interval, and the CPU time that
the readings took, which noise cannot hide.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from hetctl.bench.load import LoadTarget, run_load
from hetctl.bench.results import Load
from hetctl.bench.summary import value_over
from hetctl.bench.telemetry.run_sampler import run_sampler
from hetctl.bench.telemetry.sampler import INTERVAL_S
from hetctl.cli.plan_options import inputs_from_options
from hetctl.launch.command import launch_command
from hetctl.launch.port import free_port
from hetctl.launch.preflight import prepare_runtime
from hetctl.launch.server import Server

READY_S = 600.0
LOAD_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--interval", type=float, default=INTERVAL_S)
    asked = parser.parse_args()

    load = Load(input_len=64, output_len=64, num_prompts=asked.prompts, max_concurrency=8)
    inputs = inputs_from_options(
        asked.model,
        max_model_len=512,
        concurrency=load.max_concurrency or 1,
        input_len=load.input_len,
        output_len=load.output_len,
    )
    plan = inputs.plan()
    prepare_runtime(plan, print)
    command = launch_command(plan, host="127.0.0.1", port=free_port())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with Server(command, folder / "server.log") as server:
            server.wait_ready(READY_S)

            def rate(sampled: bool) -> tuple[float, float, float]:
                """Output tokens/s; CPU seconds of the sampler, and how long it ran."""
                target = LoadTarget(
                    base_url=server.base_url,
                    served_name=command.model_name,
                    tokenizer=asked.model,
                    result_file=folder / "result.json",
                    log_file=folder / "load.log",
                )
                path = folder / "telemetry.csv"
                sampler = (
                    run_sampler(inputs.machine, lambda: server.pid, path, asked.interval)
                    if sampled
                    else None
                )
                began = time.monotonic()
                with sampler or nullcontext():
                    measured = run_load(load, target, lambda at: None, LOAD_S)
                cpu_s = sampler.cpu_s if sampler else 0.0
                return measured.output_throughput, cpu_s, time.monotonic() - began

            rate(sampled=True)  # Warm-up.
            ratios, costs = [], []
            for pair in range(asked.pairs):
                order = (True, False) if pair % 2 else (False, True)
                found = {sampled: rate(sampled) for sampled in order}
                ratios.append(found[True][0] / found[False][0])
                costs.append(found[True][1] / found[True][2])
                print(
                    f"pair {pair + 1}: {found[False][0]:.1f} tok/s without, "
                    f"{found[True][0]:.1f} with: {ratios[-1]:.4f}",
                    flush=True,
                )
    value = value_over(ratios)
    spread = "" if value.half_width is None else f" ± {value.half_width:.4f}"
    print(f"throughput with / without: {value.mean:.4f}{spread}, median", end=" ")
    print(f"{statistics.median(ratios):.4f} ({len(ratios)} pairs)")
    print(f"CPU time of the sampler: {100 * statistics.mean(costs):.3f}% of one CPU")


if __name__ == "__main__":
    main()
