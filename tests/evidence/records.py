"""Runs of a pipeline of the made-up 8B model, measured at some multiple of what was predicted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.run_record import RunRecord, Speed
from hetctl.workload import Workload

PREDICTED = Speed(ttft_s=0.5, tpot_s=0.05, output_tokens_per_s=160.0)
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def record(slowdown: float = 1.0, session: str = "a", number: int = 0, **changes: Any) -> RunRecord:
    """A run that took ``slowdown`` times as long as predicted."""
    fields: dict[str, Any] = {
        "machine_fingerprint": "test",
        "session": session,
        "started": BEGAN + timedelta(seconds=number),
        "rates_digest": "rates",
        "versions": {"vllm": "0.26.0"},
        "model": "org/model",
        "family": "LlamaForCausalLM bfloat16 16 bits",
        "parameters": 8_030_261_248,
        "strategy": "pipeline",
        "devices": ("cpu", "cuda:0"),
        "split": (8, 24),
        "away_share": 0.25,
        "workload": Workload(max_model_len=2048),
        "predicted": PREDICTED,
        "measured": Speed(
            ttft_s=PREDICTED.ttft_s * slowdown,
            tpot_s=PREDICTED.tpot_s * slowdown,
            output_tokens_per_s=PREDICTED.output_tokens_per_s / slowdown,
        ),
        "completed": 32,
        "predictor_version": PREDICTOR_VERSION,
    }
    return RunRecord(**(fields | changes))
