"""What a heterogeneous run changes in vLLM's configuration, in the engine's process.

Each step is one function, named in :func:`prepare_engine_config`. What only a CPU rank
needs is in :mod:`vllm_hetero.rank_config`.
"""

import os
from functools import partial
from typing import TYPE_CHECKING

from vllm_hetero import env
from vllm_hetero.active_map import rank_map
from vllm_hetero.cpu_linear.mode import mode_from_env
from vllm_hetero.cpu_models import cpu_refusal, quantisation_of
from vllm_hetero.log import get_logger
from vllm_hetero.metrics import page
from vllm_hetero.rank_map import RankMap, RankMapError
from vllm_hetero.topology import usable_cores

if TYPE_CHECKING:
    from vllm.config import ModelConfig, VllmConfig

logger = get_logger(__name__)

WORKER = "vllm_hetero.worker.HeterogeneousWorker"
SCHEDULER = "vllm_hetero.scheduling.scheduler.HeterogeneousScheduler"
# The CPU attention kernels want a multiple of 32, FlashAttention 3 takes 128 as well,
# and all ranks must agree (vLLM's own default on CPU is 128 too).
BLOCK_SIZE = 128
CPU_BLOCK_MULTIPLE = 32


def prepare_environment() -> None:
    """Before arguments are parsed: what must be in the environment of the engine.

    Raises:
        ValueError: the user asked for the V2 runner.
    """
    if env.role() != "engine":
        return
    _require_v1_runner()
    # A rank's environment must be complete before Python starts in it; fork would give it
    # the engine's.
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    _announce_variables()


def _require_v1_runner() -> None:
    """The V2 runner sends sampled tokens between pipeline ranks over NCCL, which a CPU rank
    cannot join."""
    if os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0") not in ("0", "false", "False"):
        raise ValueError(
            "VLLM_USE_V2_MODEL_RUNNER=1 cannot be used with CPU ranks: the V2 model runner "
            "sends sampled tokens between pipeline stages over NCCL; unset it."
        )


def _announce_variables() -> None:
    """Let vLLM know our variables, or it warns of each one as a likely typing error.

    Only in the engine: in a rank, vLLM hashes all variables that it knows into the key of
    its compile cache, and the rank map must not make every start a cold one.
    """
    from vllm import envs

    for name in (*env.USER_VARIABLES, env.METRICS_DIR):
        envs.environment_variables.setdefault(name, partial(os.environ.get, name))


def possible_cpu_ranks() -> int:
    """CPU ranks that the engine accepts: what the map says, else one per usable core."""
    given = os.environ.get(env.RANK_MAP)
    if given:
        return len(RankMap.from_env(given).cpu_ranks)
    return sum(len(cores) for cores in usable_cores().values())


def prepare_engine_config(vllm_config: "VllmConfig") -> None:
    """Turn an ordinary configuration into a heterogeneous one, or refuse it.

    Called by the platform at the end of ``VllmConfig.__post_init__``; vLLM may build
    several configurations, so this changes nothing when called again.

    Raises:
        ValueError: something that the user asked for cannot run over mixed ranks.
    """
    if env.role() != "engine" or vllm_config.model_config is None:
        return
    parallel = vllm_config.parallel_config
    check_variables()
    try:
        ranks = rank_map(parallel.world_size)
        check_devices(ranks, env.visible_gpus())
    except RankMapError as error:
        raise ValueError(f"{error}.") from error
    _refuse_unsupported(vllm_config)
    if ranks.cpu_ranks:
        _refuse_what_cpus_cannot_run(vllm_config.model_config)
    _set_layer_partition(vllm_config, ranks)
    _set_executor(vllm_config)
    if ranks.cpu_ranks:
        _set_block_size(vllm_config)
        _schedule_synchronously(vllm_config)
        _set_scheduler(vllm_config)
        # Cascade attention has no CPU kernel, and stages must take the same path.
        vllm_config.model_config.disable_cascade_attn = True
        _set_up_mixed_groups(vllm_config, ranks)
    page.serve()


def check_variables() -> None:
    """The values that ranks, or the executor, would stumble over later.

    Raises:
        ValueError: naming the variable, its value and what it may be.
    """
    env.cpu_kv_cache_bytes()
    env.hop()
    env.seconds(env.STALL_TIMEOUT_S, 1)
    env.seconds(env.START_TIMEOUT_S, 1)
    env.max_stall_s()
    env.own_scheduler()
    mode_from_env()


def check_devices(ranks: RankMap, visible_gpus: int) -> None:
    """Every GPU of the map must be there.

    Raises:
        RankMapError: naming the rank, its device and how many GPUs are visible.
    """
    for rank in ranks.ranks:
        if rank.cuda_index is not None and rank.cuda_index >= visible_gpus:
            raise RankMapError(
                f"rank {rank.rank} is on {rank.device}, but {visible_gpus} GPUs are visible; "
                f"change the rank map or CUDA_VISIBLE_DEVICES"
            )


def _set_up_mixed_groups(vllm_config: "VllmConfig", ranks: RankMap) -> None:
    """What GPU ranks give up when they share a tensor-parallel group with CPU ranks.

    A collective across device classes is waited for on the host, between two kernels of a
    layer: it can be in no CUDA graph, and no kernel can take it in.
    """
    from vllm.config import CUDAGraphMode

    parallel, compilation = vllm_config.parallel_config, vllm_config.compilation_config
    if not ranks.mixed_groups(parallel.tensor_parallel_size):
        return
    compilation.cudagraph_mode = CUDAGraphMode.NONE
    compilation.cudagraph_capture_sizes = []
    compilation.max_cudagraph_capture_size = 0
    compilation.pass_config.fuse_allreduce_rms = False


def _refuse_unsupported(vllm_config: "VllmConfig") -> None:
    parallel, cache = vllm_config.parallel_config, vllm_config.cache_config
    model = vllm_config.model_config
    refusals = {
        "data parallelism (--data-parallel-size)": parallel.data_parallel_size > 1,
        "several nodes (--nnodes)": parallel.nnodes > 1,
        "speculative decoding": vllm_config.speculative_config is not None,
        "expert parallelism (--enable-expert-parallel)": parallel.enable_expert_parallel,
        "context parallelism": parallel.prefill_context_parallel_size > 1
        or parallel.decode_context_parallel_size > 1,
        "KV transfer (--kv-transfer-config)": vllm_config.kv_transfer_config is not None,
        # vLLM turns this one into a KV transfer only after the platform's check.
        "KV offloading (--kv-offloading-size)": cache.kv_offloading_size is not None,
        "a model with state-space layers": model.is_hybrid or model.is_attention_free,
        "a model for pooling (--runner pooling)": model.runner_type == "pooling",
        "input other than text (add --language-model-only to serve the text part)": (
            model.is_multimodal_model and not model.multimodal_config.language_model_only
        ),
        "multi-head latent attention (MLA), which has no CPU kernel,": model.use_mla,
        "sequence parallelism (enable_sp)": bool(
            vllm_config.compilation_config.pass_config.enable_sp
        ),
    }
    for feature, asked in refusals.items():
        if asked:
            raise ValueError(f"{feature} is not supported in a heterogeneous run; leave it out.")


def _refuse_what_cpus_cannot_run(model: "ModelConfig") -> None:
    config = model.hf_config.to_dict()
    reason = cpu_refusal(config)
    if model.quantization and not quantisation_of(config):
        reason = f"would be quantised while loading (--quantization {model.quantization})"
    if reason is not None:
        raise ValueError(f"{model.model} cannot run on CPU ranks: it {reason}.")


def _set_layer_partition(vllm_config: "VllmConfig", ranks: RankMap) -> None:
    """Hand the map's split to vLLM, which reads it from the environment in every rank."""
    parallel = vllm_config.parallel_config
    counts = ranks.layer_counts(parallel.tensor_parallel_size)
    if counts is None:
        return
    layers = vllm_config.model_config.get_total_num_hidden_layers()
    if len(counts) != parallel.pipeline_parallel_size or sum(counts) != layers:
        raise ValueError(
            f"the rank map splits {sum(counts)} layers over {len(counts)} stages "
            f"({','.join(map(str, counts))}), but the model has {layers} layers and "
            f"--pipeline-parallel-size is {parallel.pipeline_parallel_size}."
        )
    os.environ["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, counts))


def _set_executor(vllm_config: "VllmConfig") -> None:
    """Put our executor and worker in.

    Not an argument of the command line, because ``EngineArgs`` refuses pipeline
    parallelism with an executor that it does not know by name.
    """
    from vllm_hetero.executor import HeterogeneousExecutor

    parallel = vllm_config.parallel_config
    if parallel.distributed_executor_backend not in ("mp", "uni", HeterogeneousExecutor):
        raise ValueError(
            f"--distributed-executor-backend {parallel.distributed_executor_backend} cannot "
            "start GPU and CPU ranks together; leave it out or use mp."
        )
    parallel.distributed_executor_backend = HeterogeneousExecutor
    parallel.worker_cls = WORKER


def _set_scheduler(vllm_config: "VllmConfig") -> None:
    """Put our scheduler in, unless the user chose another; ours says itself what it does."""
    config = vllm_config.scheduler_config
    if not env.own_scheduler():
        logger.info("Scheduler: vLLM's own (%s=vllm)", env.SCHEDULER)
    elif config.scheduler_cls is None:
        config.scheduler_cls = SCHEDULER
    elif config.scheduler_cls != SCHEDULER:
        logger.info("Scheduler: %s (--scheduler-cls)", config.scheduler_cls)


def _schedule_synchronously(vllm_config: "VllmConfig") -> None:
    """Sampled tokens would go back to the first stage over the device group, which a CPU rank
    cannot join. What was asked for and what is vLLM's default look alike by now."""
    config = vllm_config.scheduler_config
    if config.async_scheduling:
        logger.info("Asynchronous scheduling is off: it sends tokens between stages over NCCL.")
    config.async_scheduling = False


def _set_block_size(vllm_config: "VllmConfig") -> None:
    cache = vllm_config.cache_config
    if not cache.user_specified_block_size:
        cache.block_size = BLOCK_SIZE
        # Otherwise the attention backend of each rank picks a size of its own.
        cache.user_specified_block_size = True
    elif cache.block_size % CPU_BLOCK_MULTIPLE:
        raise ValueError(
            f"--block-size {cache.block_size} does not suit the CPU ranks' attention kernel; "
            f"use a multiple of {CPU_BLOCK_MULTIPLE}, or leave it out for {BLOCK_SIZE}."
        )
