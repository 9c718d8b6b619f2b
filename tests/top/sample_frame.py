"""A frame of a busy server: a GPU and two CPU ranks, invented but plausible."""

from datetime import UTC, datetime

from hetctl.top.frame import Frame, RankFrame, ServerFrame, TimeShares
from hetctl.units import GIB

TAKEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def server() -> ServerFrame:
    return ServerFrame(
        url="http://127.0.0.1:8000",
        model="org/model-8b",
        strategy="pipeline",
        uptime_s=7_500,
        requests_running=8,
        requests_waiting=2,
        kv_cache_used=0.42,
        prompt_tokens_per_s=1234.0,
        output_tokens_per_s=56.7,
        ttft_mean_s=0.512,
        tpot_mean_s=0.0801,
    )


def gpu_rank() -> RankFrame:
    return RankFrame(
        rank=0,
        device="cuda:0",
        layers="0-23",
        load=0.12,
        steps_per_s=12.5,
        tokens_per_step=8.0,
        layers_s=0.0041,
        head_s=0.0,
        step_running_s=0.0,
        time=TimeShares(layers=0.05, sending=0.002, other=0.02),
        weight_read_bytes_per_s=2.9e12,
        weight_bytes=10 * GIB,
        kv_cache_bytes=2 * GIB,
        memory_bytes=14 * GIB,
        memory_limit_bytes=16 * GIB,
    )


def cpu_rank(number: int = 1) -> RankFrame:
    return RankFrame(
        rank=number,
        device="cpu",
        numa_node=0,
        cpus="1-15",
        layers="24-31",
        load=0.97,
        steps_per_s=12.5,
        tokens_per_step=8.0,
        layers_s=0.057,
        head_s=0.004,
        step_running_s=0.03,
        time=TimeShares(layers=0.71, head=0.05, receiving=0.15, other=0.03, unfinished=0.02),
        weight_read_bytes_per_s=61e9,
        memory_read_share=0.66,
        weight_bytes=4 * GIB,
        kv_cache_bytes=GIB,
        memory_bytes=7 * GIB,
        memory_limit_bytes=96 * GIB,
    )


def frame(*ranks: RankFrame, **changes: object) -> Frame:
    figures: dict[str, object] = {
        "taken": TAKEN,
        "interval_s": 1.0,
        "server": server(),
        "ranks": ranks or (gpu_rank(), cpu_rank()),
        "where_time_goes": "Rank 1 (cpu) works 81% of the time, 71% in its layers: the "
        "bottleneck. Rank 0 works 7%.",
    }
    return Frame.model_validate(figures | changes)
