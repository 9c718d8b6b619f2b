"""A folder as ``hetctl bench`` leaves it: a sweep of three configurations, with all its files."""

import csv
import json
import random
from pathlib import Path

from hetctl.bench.results import Load, Results, Run
from hetctl.bench.telemetry.digest import Mark
from hetctl.bench.telemetry.digesting import digest
from hetctl.bench.telemetry.record import read_record
from hetctl.units import GIB
from tests.bench import sample
from tests.bench.test_memory_limit import machine, spec

CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64)
_SPEED = {"hybrid": (14.0, 150.0, 0.3), "cpu": (4.0, 20.0, 1.4), "gpu+prefetch": (9.0, 420.0, 0.1)}
"""Tokens/s at one request, and at most; seconds to the first token."""

_COLUMNS = """
time_s phase gpu0_sm_clock_hz gpu0_power_w gpu0_temperature_c gpu0_memory_used_bytes
gpu0_busy_share gpu0_energy_j gpu0_throttle_reasons cpu0_load cpu1_load stolen_cpus
server_cpus foreign_cpus server_memory_bytes cpu_frequency_hz cpu_frequency_min_hz
memory_used_bytes cpu_package_energy_j
"""


def sweep_folder(
    folder: Path, concurrencies: tuple[int, ...] = CONCURRENCIES, repeats: int = 3
) -> Results:
    """Results of a sweep, saved in ``folder`` with raw results and telemetry."""
    draw = random.Random(1)
    loads = tuple(Load(max_concurrency=count, num_prompts=4 * count) for count in concurrencies)
    runs = tuple(
        _run(folder, draw, name, repeat, load)
        for repeat in range(1, repeats + 1)
        for name in _SPEED
        for load in loads
        # The CPU is flat early, and its sweep ended there.
        if not (name == "cpu" and (load.max_concurrency or 0) > 16)
    )
    base = sample.blank(loads=loads, repeats=repeats, runs=runs, spec=spec(), duration_s=5120.0)
    environment = base.environment.model_copy(update={"machine": machine()})
    results = base.model_copy(update={"environment": environment})
    results.save(folder / "results.json")
    return results


def _run(folder: Path, draw: random.Random, name: str, repeat: int, load: Load) -> Run:
    count = load.max_concurrency or 1
    one, most, ttft_s = _SPEED[name]
    rate = draw.gauss(1, 0.01) * most * count / (count + most / one - 1)
    tpot_s = count / rate
    stem = f"{name}-{load.point}-{repeat}"
    ttft_s *= 1 + count / 16
    measured = sample.measurement(
        duration_s=load.num_prompts * 128 / rate,
        completed=load.num_prompts,
        input_tokens=load.num_prompts * 512,
        output_tokens=load.num_prompts * 128,
        output_throughput=rate,
        request_throughput=rate / 128,
        total_token_throughput=5 * rate,
        ttft=sample.distribution(ttft_s),
        tpot=sample.distribution(tpot_s / 1.1),
        itl=sample.distribution(tpot_s / 1.2),
        e2el=sample.distribution(ttft_s + 127 * tpot_s),
    )
    _write_raw(folder / f"raw/{stem}.json", draw, load.num_prompts, ttft_s, tpot_s)
    telemetry = folder / f"telemetry/{stem}.csv"
    _write_telemetry(telemetry, draw, name, measured.duration_s)
    use = digest(read_record(telemetry), measured.duration_s, ("No RAPL here.",))
    if use and (name, repeat, count) == ("cpu", 2, 8):
        mark = Mark(kind="foreign load", text="other programs took 9% of the CPUs' time (limit 5%)")
        use = use.model_copy(update={"marks": (mark,)})
    return sample.run(name, repeat, measured, load.point).model_copy(
        update={
            "raw_result": f"raw/{stem}.json",
            "telemetry": f"telemetry/{stem}.csv",
            "telemetry_digest": use,
        }
    )


def _write_raw(path: Path, draw: random.Random, count: int, ttft_s: float, tpot_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    itls = [[tpot_s * draw.lognormvariate(0, 0.2) for _ in range(127)] for _ in range(count)]
    data = {
        "ttfts": [ttft_s * draw.lognormvariate(0, 0.4) for _ in range(count)],
        "itls": itls,
        "output_lens": [128] * count,
        "errors": [""] * count,
    }
    path.write_text(json.dumps(data))


def _write_telemetry(path: Path, draw: random.Random, name: str, duration_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    gpu = 0.0 if name == "cpu" else 1.0
    energy_j = 1000.0
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_COLUMNS.split())
        step_s = max(1.0, duration_s / 200)
        at_s = -step_s
        while at_s < duration_s + step_s:
            power_w = 70 + gpu * (230 + draw.gauss(0, 15)) * (at_s > 0)
            energy_j += power_w * step_s
            rows.writerow(
                f"{x:.4f}" if isinstance(x, float) else x
                for x in (
                    1.7e9 + at_s,
                    "idle" if at_s < 0 else "load",
                    1.2e9 + gpu * 7e8,
                    power_w,
                    40 + gpu * min(25.0, at_s / 4 + 3),
                    22.0 * GIB * gpu,
                    (0.0 if at_s <= 0 else 0.8 + draw.gauss(0, 0.05)) * gpu,
                    energy_j,
                    0,
                    0.9,
                    0.9,
                    0.0,
                    draw.gauss(1.8, 0.03) if name != "gpu+prefetch" else 0.4,
                    abs(draw.gauss(0.01, 0.01)),
                    20.0 * GIB,
                    draw.gauss(2.9e9, 2e7),
                    2.7e9,
                    40.0 * GIB,
                    energy_j / 2,
                )
            )
            at_s += step_s
