"""What the cost model predicts, on record: a change of it is a change of the predictor.

    python -m tests.planner.predictions

writes the record anew, after ``PREDICTOR_VERSION`` was raised.
"""

import json
import sys
from pathlib import Path
from typing import Any

from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.planner import make_plan
from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.workload import Workload
from tests.planner.machines import gpu, machine, model

RECORD = Path(__file__).with_suffix(".json")
LOADS = ((1, 128, 128), (8, 2048, 128), (64, 512, 16))
DIGITS = 6


def machines() -> dict[str, Machine]:
    return {
        "1 GPU": machine(gpus=[gpu(gib=12)]),
        "2 GPUs, 2 nodes": machine(gpus=[gpu(0, gib=7), gpu(1, gib=7, nvlink_peers=(0,))], nodes=2),
        "no GPU": machine(gpus=0, nodes=2),
    }


def models() -> dict[str, ModelSpec]:
    whole = model().layers[0]
    window = whole.model_copy(update={"sliding_window": 1024})
    experts = whole.model_copy(
        update={"decode_weight_bytes": 100_000_000, "experts": 16, "experts_per_token": 2}
    )
    return {
        "dense": model(),
        "windows": model(layers=(window, whole) * 16),
        "experts": model(layers=(experts,) * 32),
    }


def predictions() -> dict[str, list[float]]:
    """TTFT, TPOT and throughput of every strategy on every machine, model and load."""
    found: dict[str, list[float]] = {}
    for place, where in machines().items():
        for name, spec in models().items():
            for load in LOADS:
                concurrency, prompt, answer = load
                asked = Workload(
                    concurrency=concurrency,
                    input_len=prompt,
                    output_len=answer,
                    max_model_len=2304,
                )
                for entry in make_plan(where, spec, asked).ranking:
                    if entry.prediction is not None:
                        key = f"{place}: {name}, {load}, {entry.name}"
                        told = entry.prediction
                        figures = (told.ttft_s, told.tpot_s, told.output_tokens_per_s)
                        found[key] = [float(f"{one:.{DIGITS}g}") for one in figures]
    return found


def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def main() -> None:
    now = predictions()
    if RECORD.exists():
        before = recorded()
        if before["predictions"] != now and before["predictor_version"] == PREDICTOR_VERSION:
            sys.exit("The predictions have changed: raise PREDICTOR_VERSION first.")
    lines = (f"  {json.dumps(name)}: {json.dumps(figures)}" for name, figures in now.items())
    RECORD.write_text(
        f'{{"predictor_version": {PREDICTOR_VERSION}, "predictions": {{\n'
        + ",\n".join(lines)
        + "\n}}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
