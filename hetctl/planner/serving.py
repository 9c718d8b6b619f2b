"""vLLM's settings that decide how much memory a rank needs, and hetctl's choice of them."""

from dataclasses import dataclass

from hetctl.planner.device import Device
from hetctl.units import GIB
from hetctl.workload import Workload

# vllm/config/cache.py: DEFAULT_BLOCK_SIZE; vllm/platforms/cpu.py sets 128 where a CPU
# takes part, and the block size is one for all ranks.
GPU_BLOCK_SIZE = 16
# FlashMLA and FlashInfer's kernels for latent attention take no smaller ones
# (vllm/v1/attention/backends/mla).
LATENT_BLOCK_SIZE = 64
CPU_BLOCK_SIZE = 128

# vllm/engine/arg_utils.py: get_batch_defaults, for the OpenAI server. Its test of the
# device's name ("a100") is left out: 8,192 tokens are then planned, and asked for.
_BATCHED_TOKENS = 2048
_BATCHED_TOKENS_LARGE_GPU = 8192
_LARGE_GPU_BYTES = 70 * GIB
_MIN_SEQUENCES = 256


@dataclass(frozen=True, slots=True)
class Serving:
    """What the engine is started with. Lengths are in tokens."""

    concurrency: int
    """Sequences whose KV cache must be there at once."""
    max_model_len: int
    max_num_seqs: int
    block_size: int
    max_num_batched_tokens: int
    in_flight_tokens: int
    """Scheduled and not yet settled (``vllm/config/vllm.py: max_in_flight_tokens``): one batch per
    pipeline stage, and without CPU ranks one more, as scheduling is asynchronous."""
    cuda_graphs: bool = True
    """Off where a tensor-parallel group mixes devices (docs/runtime/platform.md)."""


def serving_for(
    devices: tuple[Device, ...],
    workload: Workload,
    max_model_len: int,
    latent_cache: bool = False,
    stages: int | None = None,
) -> Serving:
    """Settings for an engine over ``devices``, or some of them.

    Args:
        latent_cache: The model has multi-head latent attention.
        stages: Pipeline stages at most; None for one on each device.
    """
    stages = len(devices) if stages is None else stages
    block = LATENT_BLOCK_SIZE if latent_cache else GPU_BLOCK_SIZE
    on_cpu = any(device.kind == "cpu" for device in devices)
    smallest = min(device.memory_limit_bytes for device in devices)
    large = not on_cpu and smallest >= int(0.9 * _LARGE_GPU_BYTES)
    batched = _BATCHED_TOKENS_LARGE_GPU if large else _BATCHED_TOKENS
    return Serving(
        concurrency=workload.concurrency,
        max_model_len=max_model_len,
        max_num_seqs=max(workload.concurrency, _MIN_SEQUENCES),
        block_size=CPU_BLOCK_SIZE if on_cpu else block,
        max_num_batched_tokens=batched,
        in_flight_tokens=batched * (stages if on_cpu else stages + 1),
    )
