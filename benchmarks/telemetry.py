"""What sampling the machine costs: throughput with the sampler over throughput without.

    python benchmarks/telemetry.py MODEL [--pairs 12] [--slice 5] [--interval 1]

One server under one steady load, during which the sampler is on for some seconds and off for
as many, in pairs of changing order. The tokens of each slice are counted from the times of
the generator's result. Prints the ratio with its 95% interval, and the CPU time that the
readings took, which noise cannot hide.
"""

import argparse
import json
import math
import statistics
import tempfile
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from hetctl.bench.load import LoadTarget, run_load
from hetctl.bench.load_progress import LoadProgress
from hetctl.bench.results import Load
from hetctl.bench.summary import value_over
from hetctl.bench.telemetry.run_sampler import run_sampler
from hetctl.bench.telemetry.sampler import INTERVAL_S
from hetctl.cli.plan_options import inputs_from_options
from hetctl.launch.command import launch_command
from hetctl.launch.port import free_port
from hetctl.launch.preflight import prepare_runtime
from hetctl.launch.server import Server
from hetctl.machine import Machine

READY_S = 600.0
CONCURRENCY = 8
OUTPUT_LEN = 64


@dataclass
class Slice:
    """A part of the load, on the monotonic clock that the generator uses, too."""

    sampled: bool
    begin_s: float
    end_s: float
    cpu_s: float = 0.0


class Switch:
    """Turns the sampler on and off from when the load begins."""

    def __init__(self, machine: Machine, server: Server, folder: Path, asked: argparse.Namespace):
        self._machine, self._server, self._folder, self._asked = machine, server, folder, asked
        self._began = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.slices: list[Slice] = []

    def on_progress(self, at: LoadProgress) -> None:
        if at.phase == "load":
            self._began.set()

    def __enter__(self) -> "Switch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._began.set()
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        self._began.wait()
        self._ended.wait(2.0)  # The first requests are all prompts.
        for pair in range(self._asked.pairs):
            for sampled in (True, False) if pair % 2 else (False, True):
                if self._ended.is_set():
                    return
                self.slices.append(self._slice(sampled))

    def _slice(self, sampled: bool) -> Slice:
        begin_s = time.perf_counter()
        if not sampled:
            self._ended.wait(self._asked.slice)
            return Slice(False, begin_s, time.perf_counter())
        path = self._folder / "telemetry.csv"
        pid = self._server.pid
        with run_sampler(self._machine, lambda: pid, path, self._asked.interval) as sampler:
            self._ended.wait(self._asked.slice)
        return Slice(True, begin_s, time.perf_counter(), sampler.cpu_s)


def token_times(result: Path) -> tuple[list[float], float]:
    """When each token came, in order, and when the last request was sent."""
    data = json.loads(result.read_text())
    times = [
        start + at
        for start, ttft, itls in zip(data["start_times"], data["ttfts"], data["itls"], strict=True)
        for at in accumulate(itls, initial=ttft)
    ]
    return sorted(times), max(data["start_times"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--slice", type=float, default=5.0, help="seconds")
    parser.add_argument("--interval", type=float, default=INTERVAL_S, help="seconds")
    parser.add_argument("--prompts", type=int, default=2000, help="enough for all slices")
    asked = parser.parse_args()

    load = Load(
        input_len=32,
        output_len=OUTPUT_LEN,
        num_prompts=asked.prompts,
        max_concurrency=CONCURRENCY,
    )
    inputs = inputs_from_options(
        asked.model,
        max_model_len=512,
        concurrency=CONCURRENCY,
        input_len=load.input_len,
        output_len=OUTPUT_LEN,
    )
    plan = inputs.plan()
    prepare_runtime(plan, print)
    command = launch_command(plan, host="127.0.0.1", port=free_port())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        target = LoadTarget(
            base_url=command.base_url,
            served_name=command.model_name,
            tokenizer=asked.model,
            result_file=folder / "result.json",
            log_file=folder / "load.log",
        )
        with Server(command, folder / "server.log") as server:
            server.wait_ready(READY_S)
            with Switch(inputs.machine, server, folder, asked) as switch:
                run_load(load, target, switch.on_progress, timeout_s=3600)
        report(switch.slices, *token_times(target.result_file))


def report(slices: list[Slice], tokens: list[float], last_sent_s: float) -> None:
    """Slices after the last request was sent are left out: the load was less then."""
    whole = [one for one in slices if one.end_s <= last_sent_s]
    rates = [
        (bisect_left(tokens, one.end_s) - bisect_left(tokens, one.begin_s))
        / (one.end_s - one.begin_s)
        for one in whole
    ]
    ratios = []
    for at in range(0, len(whole) - 1, 2):
        on, off = (at, at + 1) if whole[at].sampled else (at + 1, at)
        ratios.append(rates[on] / rates[off])
        print(f"{rates[off]:8.1f} tok/s without, {rates[on]:8.1f} with: {ratios[-1]:.4f}")
    if not ratios:
        raise SystemExit("The load ended before two slices; raise --prompts.")
    # Of logarithms: the mean of noisy ratios is above 1 whichever way they are taken.
    value = value_over([math.log(ratio) for ratio in ratios])
    low, high = math.exp(value.low), math.exp(value.high)
    sampled = [one for one in whole if one.sampled]
    cpu = sum(one.cpu_s for one in sampled) / sum(one.end_s - one.begin_s for one in sampled)
    print(
        f"throughput with / without the sampler: {math.exp(value.mean):.4f} "
        f"(95% {low:.4f} to {high:.4f}), median {statistics.median(ratios):.4f}, "
        f"{len(ratios)} pairs\n"
        f"CPU time of the readings: {100 * cpu:.3f}% of one CPU"
    )


if __name__ == "__main__":
    main()
