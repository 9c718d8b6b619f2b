"""Adapts the engine's configuration to one rank, in that rank's process."""

from typing import TYPE_CHECKING

import torch

from vllm_hetero import env
from vllm_hetero.rank_map import Rank

if TYPE_CHECKING:
    from vllm.config import VllmConfig

# vLLM's long-standing default for VLLM_CPU_KVCACHE_SPACE.
DEFAULT_CPU_KV_CACHE_BYTES = 4 * 1024**3


def adapt_to_rank(vllm_config: "VllmConfig", rank: Rank) -> None:
    """Change ``vllm_config``, this process's copy, to suit ``rank``."""
    if rank.is_cpu:
        _adapt_to_cpu(vllm_config)
    if rank.kv_cache_bytes is not None:
        vllm_config.cache_config.kv_cache_memory_bytes = rank.kv_cache_bytes
    elif rank.is_cpu:
        cache = vllm_config.cache_config
        if (given := env.cpu_kv_cache_bytes()) is not None:
            cache.kv_cache_memory_bytes = given
        elif cache.kv_cache_memory_bytes is None:
            # --gpu-memory-utilization is for GPUs: applied to a NUMA node it would claim
            # nearly all memory of the machine.
            cache.kv_cache_memory_bytes = DEFAULT_CPU_KV_CACHE_BYTES


def _adapt_to_cpu(vllm_config: "VllmConfig") -> None:
    """What ``VllmConfig`` would hold had it been made on the CPU platform.

    The engine made it for CUDA; the parts that depend on the platform are set again.
    CUDA graphs and the CUDA compile passes mean nothing here. Layers run eagerly unless the
    user asks for torch.compile; ``--enforce-eager`` is for all ranks.
    """
    from vllm.config import CompilationMode, CUDAGraphMode
    from vllm.config.kernel import IrOpPriorityConfig
    from vllm.config.offload import OffloadConfig
    from vllm.platforms import current_platform
    from vllm.platforms.cpu import CpuPlatform

    vllm_config.device_config.device_type = "cpu"
    vllm_config.device_config.device = torch.device("cpu")
    compiled = env.compile_cpu_ranks() and not vllm_config.model_config.enforce_eager
    vllm_config.model_config.enforce_eager = not compiled
    # Weights of a CPU rank are in host memory as it is.
    vllm_config.offload_config = OffloadConfig()
    compilation = vllm_config.compilation_config
    # The CPU platform turns this mode, its default, into one trace compiled by Inductor.
    compilation.mode = CompilationMode.VLLM_COMPILE if compiled else CompilationMode.NONE
    compilation.cudagraph_mode = CUDAGraphMode.NONE
    compilation.cudagraph_capture_sizes = []
    compilation.max_cudagraph_capture_size = 0
    compilation.ir_enable_torch_wrap = False
    # Inductor fuses what is written in torch, and not what is a kernel of its own.
    compilation.custom_ops = ["none"] if compiled else ["all"]
    assert current_platform.is_cpu()
    CpuPlatform.check_and_update_config(vllm_config)
    priority = IrOpPriorityConfig()
    if not compiled:
        from vllm_hetero.patches import cpu_fused_ops

        cpu_fused_ops.apply()
        priority = IrOpPriorityConfig.with_default([cpu_fused_ops.PROVIDER])
    vllm_config.kernel_config.ir_op_priority = priority
    vllm_config.kernel_config.set_platform_defaults(vllm_config)
