"""What each rank of a server does, from its metrics and its plan."""

from collections.abc import Mapping
from typing import Any

from hetctl.plan import Plan
from hetctl.probe.cpu_list import format_cpu_list
from hetctl.top.frame import RankFrame
from hetctl.top.reading import Change, Reading
from hetctl.top.samples import Labels, Samples
from hetctl.top.time_shares import time_shares

_RANK_INFO = "vllm_hetero_rank_info"
_STEPS = "vllm_hetero_steps_total"
_TOKENS = "vllm_hetero_step_tokens_total"
_LAYERS = "vllm_hetero_layers_seconds_total"
_HEAD = "vllm_hetero_head_seconds_total"
_WEIGHTS_READ = "vllm_hetero_layer_weight_read_bytes_total"
_CPU_TIME = "vllm_hetero_process_cpu_seconds_total"
_RUNNING = "vllm_hetero_step_running_seconds"


def tells_of_ranks(samples: Samples) -> bool:
    """Whether the server's ranks tell what they do."""
    return samples.total(_RANK_INFO) is not None


def rank_labels(samples: Samples, plan: Plan | None) -> dict[int, Labels]:
    """Device, NUMA node, CPUs and layers of the ranks that tell, else of those of the plan.

    The plan's GPUs are numbered as NVML does, a rank's as the server sees them: where there is a
    plan, its names are shown.
    """
    told = samples.labels_of_ranks(_RANK_INFO)
    if plan is None:
        return told
    planned: dict[int, Labels] = {
        rank.rank: {
            "device": rank.device,
            "numa_node": "" if rank.numa_node is None else str(rank.numa_node),
            "cpus": format_cpu_list(rank.cpus),
            "layers": f"{rank.layers[0]}-{rank.layers[1] - 1}",
        }
        for rank in plan.ranks
    }
    devices = {rank: {"device": labels["device"]} for rank, labels in planned.items()}
    return {rank: {**told[rank], **devices.get(rank, {})} for rank in told} or planned


def rank_frames(
    labels: Mapping[int, Labels],
    now: Reading,
    changed: Change | None,
    plan: Plan | None,
    memory_read_bytes_per_s: Mapping[int, float],
) -> tuple[RankFrame, ...]:
    """One frame per rank, in order.

    Args:
        labels: Of :func:`rank_labels`.
        now: The reading to show.
        changed: Since the one before; None where there is none.
        plan: The server's, where it is known.
        memory_read_bytes_per_s: By NUMA node.
    """
    limits = {rank.rank: rank.memory_limit_bytes for rank in plan.ranks} if plan else {}
    frames = []
    for rank, own in sorted(labels.items()):
        node = _integer(own.get("numa_node", ""))
        work = _work(rank, changed) if changed else {}
        rate = work.get("weight_read_bytes_per_s")
        most = memory_read_bytes_per_s.get(node) if node is not None else None
        frames.append(
            RankFrame(
                rank=rank,
                device=own.get("device", ""),
                numa_node=node,
                cpus=own.get("cpus", ""),
                layers=own.get("layers", ""),
                load=_load(rank, own.get("cpus", ""), now, changed),
                step_running_s=now.samples.of_ranks(_RUNNING).get(rank),
                memory_read_share=rate / most if rate and most else None,
                **work,
                **_memory(rank, own, now, limits.get(rank)),
            )
        )
    return tuple(frames)


def _integer(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _work(rank: int, changed: Change) -> dict[str, Any]:
    """What the rank did in the interval."""
    steps = changed.of_rank(_STEPS, rank)
    if steps is None:
        return {}
    shares = time_shares(rank, changed)
    found: dict[str, Any] = {"steps_per_s": steps / changed.seconds, "time": shares}
    if not steps:
        return found
    layers_s = changed.of_rank(_LAYERS, rank) or 0.0
    read = changed.of_rank(_WEIGHTS_READ, rank)
    return found | {
        "tokens_per_step": (changed.of_rank(_TOKENS, rank) or 0.0) / steps,
        "layers_s": layers_s / steps,
        "head_s": (changed.of_rank(_HEAD, rank) or 0.0) / steps,
        "weight_read_bytes_per_s": read / layers_s if read and layers_s else None,
    }


def _load(rank: int, cpus: str, now: Reading, changed: Change | None) -> float | None:
    """Of its CPUs or GPU if this machine tells, else what its process had of its CPUs."""
    if rank in now.use.loads:
        return now.use.loads[rank]
    used_s = changed.of_rank(_CPU_TIME, rank) if changed else None
    count = _cpu_count(cpus)
    if changed is None or used_s is None or count <= 0:
        return None
    return min(1.0, used_s / changed.seconds / count)


def _cpu_count(cpus: str) -> int:
    """How many CPUs a list such as ``0-3,8`` names, without writing them out: who serves the
    page may name any number."""
    try:
        ranges = [part.partition("-") for part in cpus.split(",") if part]
        return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
    except ValueError:
        return 0


def _memory(rank: int, labels: Labels, now: Reading, limit: int | None) -> dict[str, int | None]:
    def told(name: str) -> int | None:
        value = now.samples.of_ranks(f"vllm_hetero_{name}_bytes").get(rank)
        return None if value is None else round(value)

    gpu_bytes = now.use.gpu_memory_bytes.get(rank)
    if labels.get("device") == "cpu":
        held = told("process_resident_memory")
    else:
        held = told("gpu_memory_used") if gpu_bytes is None else round(gpu_bytes)
    return {
        "weight_bytes": told("weight"),
        "kv_cache_bytes": told("kv_cache"),
        "memory_bytes": held,
        "memory_limit_bytes": limit or told("gpu_memory_total"),
    }
