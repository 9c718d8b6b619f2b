"""Where the memory and the time of each rank go, as bars; and whether the plan was right."""

from dataclasses import dataclass

from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT
from hetctl.bench.results import Load
from hetctl.bench.summary import ConfigurationSummary
from hetctl.plan import Plan, RankPlan
from hetctl.units import format_bytes, format_duration


@dataclass(frozen=True)
class Segment:
    """A part of a bar."""

    name: str
    size: str
    percent: float
    css: str


def memory_scale(plan: Plan) -> int:
    """The largest memory limit among the ranks, in bytes: bars are to one scale."""
    return max(max(rank.memory_limit_bytes, rank.used_bytes) for rank in plan.ranks)


def segments(rank: RankPlan, scale: int) -> list[Segment]:
    """A rank's memory from weights to what is left, as shares of ``scale`` bytes."""
    parts = {
        "weights": rank.weight_bytes,
        "KV cache": rank.kv_cache_bytes,
        "activations": rank.activation_bytes,
        "CUDA graphs": rank.cuda_graph_bytes,
        "framework": rank.framework_bytes,
        "free": max(0, rank.memory_limit_bytes - rank.used_bytes),
    }
    return [
        Segment(name, format_bytes(size), 100 * size / scale, name.split()[0].lower())
        for name, size in parts.items()
        if size
    ]


def time_scale(plan: Plan) -> float:
    """The longest time of a rank in a decode step, in seconds; 0 where none is planned."""
    return max(rank.decode_parts.total_s for rank in plan.ranks)


def time_segments(rank: RankPlan, scale: float) -> list[Segment]:
    """A rank's part of a planned decode step, as shares of ``scale`` seconds."""
    spent = rank.decode_parts
    parts = {
        "weights": spent.weights_s,
        "streaming": spent.stream_s,
        "attention": spent.attention_s,
        "transfer": spent.transfer_s,
        "overhead": spent.overhead_s,
    }
    return [
        Segment(name, format_duration(seconds), 100 * seconds / scale, name)
        for name, seconds in parts.items()
        if scale and seconds / scale > 1e-3
    ]


def predictions(one: ConfigurationSummary) -> list[tuple[str, str, str, str]]:
    """What the plan promised, what was measured, and how far apart they are."""
    plan = one.configuration.plan
    if plan is None:
        return []
    promised = {
        OUTPUT_THROUGHPUT: plan.prediction.output_tokens_per_s,
        LATENCIES["ttft"][1]["mean"]: plan.prediction.ttft_s,
        LATENCIES["tpot"][1]["mean"]: plan.prediction.tpot_s,
    }
    lines = []
    for metric, expected in promised.items():
        found = one.value(metric).mean
        off = f"{(found / expected - 1) * 100:+.0f}%" if expected > 0 else "not predicted"
        lines.append((metric.title, metric.format(expected), metric.format(found), off))
    return lines


def planned_for(plan: Plan, load: Load) -> bool:
    """Whether the plan's prediction is about this load."""
    workload = plan.workload
    return (workload.input_len, workload.output_len, workload.concurrency) == (
        load.input_len,
        load.output_len,
        load.max_concurrency,
    )
