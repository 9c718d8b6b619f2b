"""Pages of metrics as servers show them, with the figures that a test wants."""

import time
from collections.abc import Mapping

from hetctl.top.samples import Samples, parse

ENGINE = '{engine="0",model_name="tiny"}'
SERVER = {
    "vllm:num_requests_running": 0.0,
    "vllm:num_requests_waiting": 0.0,
    "vllm:kv_cache_usage_perc": 0.0,
    "vllm:prompt_tokens_total": 0.0,
    "vllm:generation_tokens_total": 0.0,
    "vllm:time_to_first_token_seconds_sum": 0.0,
    "vllm:time_to_first_token_seconds_count": 0.0,
    "vllm:inter_token_latency_seconds_sum": 0.0,
    "vllm:inter_token_latency_seconds_count": 0.0,
}
CPU_RANK = {"device": "cpu", "numa_node": "0"}
"""Labels of a rank on the CPU."""


def page(
    server: Mapping[str, float] | None = None,
    ranks: Mapping[int, Mapping[str, float]] | None = None,
    started_s: float = 1000.0,
    places: Mapping[int, Mapping[str, str]] | None = None,
) -> str:
    """A page of Prometheus text.

    Args:
        server: vLLM's metrics, on top of an idle server's.
        ranks: By rank, its metrics without ``vllm_hetero_``.
        started_s: When the server's process started.
        places: By rank, the labels of ``rank_info`` that differ from rank N on CPU N with
            layers N..N.
    """
    lines = [f"process_start_time_seconds {started_s}"]
    lines += [f"{name}{ENGINE} {value}" for name, value in {**SERVER, **(server or {})}.items()]
    for rank, metrics in (ranks or {}).items():
        labels = {"rank": str(rank), **CPU_RANK}
        place = {"cpus": str(rank), "layers": f"{rank}-{rank}", **(places or {}).get(rank, {})}
        lines.append(f"vllm_hetero_rank_info{written({**labels, **place})} 1")
        labels |= {name: place[name] for name in CPU_RANK if name in place}
        lines += [f"vllm_hetero_{name}{written(labels)} {v}" for name, v in metrics.items()]
    return "\n".join(lines) + "\n"


def written(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def samples(
    server: Mapping[str, float] | None = None,
    ranks: Mapping[int, Mapping[str, float]] | None = None,
    started_s: float = 1000.0,
    places: Mapping[int, Mapping[str, str]] | None = None,
) -> Samples:
    """The same, read."""
    return parse(page(server, ranks, started_s, places), "a test")


def two_ranks(asked: int) -> str:
    """Rank 1 works 80% of the time and rank 0 20%, whatever the interval: by the clock."""
    now_s = time.monotonic()
    server = {"vllm:num_requests_running": 2.0, "vllm:generation_tokens_total": 100 * now_s}
    ranks = {
        rank: {
            "steps_total": 10 * now_s,
            "step_tokens_total": 20 * now_s,
            "step_call_seconds_total": share * now_s,
            "layers_seconds_total": share * now_s,
            "head_seconds_total": 0.0,
        }
        for rank, share in ((0, 0.2), (1, 0.8))
    }
    return page(server, ranks)
