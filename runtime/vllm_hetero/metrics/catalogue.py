"""Every metric that this package adds to vLLM's: name, kind, meaning and where it is from.

Names begin with ``vllm_hetero_`` and not, as vLLM's do, with a word and a colon: Prometheus
keeps colons for the names of recording rules, and its checker objects to them.
"""

from dataclasses import dataclass
from typing import Literal

from vllm_hetero.metrics.record import Word

LABELS = ("rank", "device", "numa_node")
"""Of each metric: the rank's number, ``cpu`` or ``cuda:N`` as in the rank map, and the NUMA node
that a CPU rank is bound to, else empty."""


@dataclass(frozen=True)
class Metric:
    """One metric, with a sample per rank that has something to tell."""

    name: str
    """As in PromQL: counters end in ``_total``."""
    kind: Literal["counter", "gauge"]
    help: str
    word: Word | None = None
    """Where the rank notes it; None for what is found out when the metrics are asked for."""


PROCESS_CPU_SECONDS = Metric(
    "vllm_hetero_process_cpu_seconds_total",
    "counter",
    "Seconds of CPU time of the rank's process, all its threads together. Threads that wait for a "
    "hop or for each other may be busy, too.",
)
PROCESS_RESIDENT_BYTES = Metric(
    "vllm_hetero_process_resident_memory_bytes",
    "gauge",
    "Resident memory of the rank's process, with pages of the checkpoint's files and of the hops' "
    "shared memory.",
)
STEP_RUNNING_SECONDS = Metric(
    "vllm_hetero_step_running_seconds",
    "gauge",
    "Seconds since the call of a step began that is not over, which the counters do not hold yet; "
    "0 between calls.",
)
RECEIVE_RUNNING_SECONDS = Metric(
    "vllm_hetero_hop_receive_running_seconds",
    "gauge",
    "Seconds for which the rank now waits for activations of the stage before it; 0 while it does "
    "not. Missing where there is no such stage, or both are on GPUs.",
)
RANK_INFO = Metric(
    "vllm_hetero_rank_info",
    "gauge",
    "1 for each rank; its labels also say which CPUs and which layers the rank has.",
)
INFO_LABELS = (*LABELS, "cpus", "layers")
"""Of :data:`RANK_INFO`: also the CPUs (``0-3,8``) and the layers (``0-15``: first and last)."""

METRICS = (
    Metric(
        "vllm_hetero_steps_total",
        "counter",
        "Steps in which the rank's layers ran.",
        Word.STEPS,
    ),
    Metric(
        "vllm_hetero_step_tokens_total",
        "counter",
        "Tokens (rows) of these steps, without padding.",
        Word.TOKENS,
    ),
    Metric(
        "vllm_hetero_step_call_seconds_total",
        "counter",
        "Seconds that the rank's process spent in the calls of these steps: preparing, layers, "
        "head, sampling, receiving and sending. A GPU may still work when a call ends.",
        Word.CALL_SECONDS,
    ),
    Metric(
        "vllm_hetero_layers_seconds_total",
        "counter",
        "Seconds in the rank's layers, collectives of a tensor-parallel group included; on a GPU "
        "by its own clock.",
        Word.LAYERS_SECONDS,
    ),
    Metric(
        "vllm_hetero_head_seconds_total",
        "counter",
        "Seconds in logits and sampling; 0 on all stages but the last.",
        Word.HEAD_SECONDS,
    ),
    Metric(
        "vllm_hetero_layer_weight_read_bytes_total",
        "counter",
        "Bytes of weights that the steps' layers had to read: each weight of the stage once per "
        "step. Not the KV cache, embeddings and head. Missing where a stage has experts, of which "
        "a step reads some.",
        Word.WEIGHT_READ_BYTES,
    ),
    Metric(
        "vllm_hetero_hop_receive_seconds_total",
        "counter",
        "Seconds that the rank waited for activations of the stage before it and took them over. "
        "Missing where there is no such stage, or both are on GPUs.",
        Word.RECEIVE_SECONDS,
    ),
    Metric(
        "vllm_hetero_hop_send_seconds_total",
        "counter",
        "Seconds that the rank spent on sending activations to the next stage, waiting for room "
        "included. Missing where there is no such stage, or both are on GPUs.",
        Word.SEND_SECONDS,
    ),
    Metric(
        "vllm_hetero_hop_received_bytes_total",
        "counter",
        "Bytes of activations received from the stage before it.",
        Word.RECEIVED_BYTES,
    ),
    Metric(
        "vllm_hetero_hop_sent_bytes_total",
        "counter",
        "Bytes of activations sent to the next stage.",
        Word.SENT_BYTES,
    ),
    Metric(
        "vllm_hetero_last_step_tokens",
        "gauge",
        "Tokens (rows) of the last step.",
        Word.LAST_TOKENS,
    ),
    Metric(
        "vllm_hetero_last_step_layers_seconds",
        "gauge",
        "Seconds that the last step took in the rank's layers.",
        Word.LAST_LAYERS_SECONDS,
    ),
    Metric(
        "vllm_hetero_last_step_head_seconds",
        "gauge",
        "Seconds that the last step took in logits and sampling.",
        Word.LAST_HEAD_SECONDS,
    ),
    Metric(
        "vllm_hetero_last_step_layer_weight_read_bytes_per_second",
        "gauge",
        "Rate at which the last step's layers read their weights, each counted once. Near the "
        "memory's rate while few tokens share a step; far below it in a prompt, where computing "
        "takes longer than reading.",
        Word.LAST_WEIGHT_READ_BYTES_PER_SECOND,
    ),
    Metric(
        "vllm_hetero_weight_bytes",
        "gauge",
        "Memory that the rank's weights take on its device, second copies included.",
        Word.WEIGHT_BYTES,
    ),
    Metric(
        "vllm_hetero_kv_cache_bytes",
        "gauge",
        "Memory that the rank's KV cache takes on its device.",
        Word.KV_CACHE_BYTES,
    ),
    Metric(
        "vllm_hetero_gpu_memory_allocated_bytes",
        "gauge",
        "Of a GPU rank: memory in torch's tensors, at the last step or up to a second before it.",
        Word.GPU_ALLOCATED_BYTES,
    ),
    Metric(
        "vllm_hetero_gpu_memory_reserved_bytes",
        "gauge",
        "The same with what torch keeps for tensors to come.",
        Word.GPU_RESERVED_BYTES,
    ),
    Metric(
        "vllm_hetero_gpu_memory_used_bytes",
        "gauge",
        "What is used of the GPU's memory, by all processes, at that time.",
        Word.GPU_USED_BYTES,
    ),
    Metric(
        "vllm_hetero_gpu_memory_total_bytes",
        "gauge",
        "Memory of the GPU.",
        Word.GPU_TOTAL_BYTES,
    ),
    STEP_RUNNING_SECONDS,
    RECEIVE_RUNNING_SECONDS,
    PROCESS_CPU_SECONDS,
    PROCESS_RESIDENT_BYTES,
    RANK_INFO,
)
