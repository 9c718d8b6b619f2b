"""Two readings of a server -> a frame."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from hetctl.errors import HetctlError
from hetctl.server_record import ServerRecord
from hetctl.top.bottleneck import where_time_goes
from hetctl.top.frame import Frame, ServerFrame
from hetctl.top.ranks import rank_frames, rank_labels, tells_of_ranks
from hetctl.top.reading import Change, Reading, change
from hetctl.top.samples import Samples

_RUNNING = "vllm:num_requests_running"


@dataclass(frozen=True)
class Subject:
    """The server that is looked at, and what is known of it beforehand."""

    url: str
    record: ServerRecord | None = None
    """Where hetctl started it, for this user on this machine."""
    memory_read_bytes_per_s: Mapping[int, float] = field(default_factory=dict)
    """What the memory of each NUMA node was measured to give."""
    notes: tuple[str, ...] = ()


def frame_of(subject: Subject, before: Reading | None, now: Reading, taken: datetime) -> Frame:
    """What to show of a server.

    Raises:
        HetctlError: the page is not one of vLLM's.
    """
    changed = change(before, now)
    plan = subject.record.plan if subject.record else None
    labels = rank_labels(now.samples, plan)
    ranks = rank_frames(labels, now, changed, plan, subject.memory_read_bytes_per_s)
    return Frame(
        taken=taken,
        interval_s=changed and changed.seconds,
        server=_server(subject, now.samples, changed, taken),
        ranks=ranks,
        where_time_goes=where_time_goes(ranks),
        notes=(*subject.notes, *_notes(subject, now.samples)),
    )


def _server(
    subject: Subject, samples: Samples, changed: Change | None, taken: datetime
) -> ServerFrame:
    running = samples.total(_RUNNING)
    if running is None:
        raise HetctlError(
            f"What answers at {subject.url} shows none of vLLM's metrics; is it a vLLM server, "
            "started without --disable-log-stats?"
        )
    record = subject.record
    return ServerFrame(
        url=subject.url,
        model=record.model_name if record else samples.label(_RUNNING, "model_name") or "",
        strategy=record.plan.strategy if record else None,
        uptime_s=_uptime_s(subject, samples, taken),
        requests_running=round(running),
        requests_waiting=round(samples.total("vllm:num_requests_waiting") or 0),
        kv_cache_used=min(1.0, samples.highest("vllm:kv_cache_usage_perc") or 0.0),
        prompt_tokens_per_s=changed and changed.rate("vllm:prompt_tokens_total"),
        output_tokens_per_s=changed and changed.rate("vllm:generation_tokens_total"),
        ttft_mean_s=changed and changed.mean("vllm:time_to_first_token_seconds"),
        tpot_mean_s=changed and changed.mean("vllm:inter_token_latency_seconds"),
    )


def _uptime_s(subject: Subject, samples: Samples, taken: datetime) -> float | None:
    started_s = samples.total("process_start_time_seconds")
    if subject.record is not None:
        started_s = subject.record.started.timestamp()
    return None if started_s is None else max(0.0, taken.timestamp() - started_s)


def _notes(subject: Subject, samples: Samples) -> tuple[str, ...]:
    if tells_of_ranks(samples):
        return ()
    if subject.record is not None:
        return ("Ranks of an engine on GPUs alone are vLLM's own and do not tell what they do.",)
    return ("This server has no metrics of ranks; one with CPU ranks has them.",)
