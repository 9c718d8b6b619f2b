"""The latencies of every request of a run, from what ``vllm bench serve`` saved."""

import json
from pathlib import Path

LATENCY_NAMES = ("ttft", "tpot", "itl", "e2el")


def request_latencies(path: Path) -> dict[str, list[float]]:
    """Seconds, by vLLM's name of the latency; of ITL, every gap between tokens.

    Empty where the file is gone, damaged or holds no requests (an outside engine's): the run's
    own percentiles remain.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        ttfts, gaps = data["ttfts"], data["itls"]
        lengths = data["output_lens"]
        errors = data.get("errors") or [""] * len(ttfts)
        found: dict[str, list[float]] = {name: [] for name in LATENCY_NAMES}
        for ttft, itls, length, error in zip(ttfts, gaps, lengths, errors, strict=True):
            if error or not length:
                continue
            after_s = sum(itls)
            found["ttft"].append(float(ttft))
            found["itl"] += map(float, itls)
            found["e2el"].append(ttft + after_s)
            if length > 1:
                found["tpot"].append(after_s / (length - 1))
        return {name: values for name, values in found.items() if values}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
