"""The worker of each rank: vLLM's GPU or CPU worker, told its place by the rank map."""

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vllm.distributed.parallel_state import get_pp_group

from vllm_hetero import env
from vllm_hetero.active_map import rank_map
from vllm_hetero.collectives.tensor_parallel import agree_on_tokens, rehearsal
from vllm_hetero.compute_threads import settle
from vllm_hetero.failure import ends_the_engine
from vllm_hetero.kv_specs import alike_on_all_devices
from vllm_hetero.layer_weights import LayerWeights
from vllm_hetero.log import get_logger
from vllm_hetero.metrics import record
from vllm_hetero.metrics.record import Word
from vllm_hetero.metrics.step_meter import StepMeter
from vllm_hetero.patches import (
    cpu_discarded_draws,
    layer_weights,
    lora_base_rows,
    memory_nodes,
    sliding_window_blocks,
    store_on_loopback,
)
from vllm_hetero.rank_config import adapt_to_rank
from vllm_hetero.rank_environment import own_memory_nodes
from vllm_hetero.rank_table import Held
from vllm_hetero.stage_times import StageTime, StepTimer
from vllm_hetero.weight_memory import WeightMemory

if env.role() == "cpu":
    from vllm.v1.worker.cpu_worker import CPUWorker as DeviceWorker
else:
    from vllm.v1.worker.gpu_worker import Worker as DeviceWorker

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput

    from vllm_hetero.cpu_linear.policy import LinearPolicy
    from vllm_hetero.cpu_linear.vocabulary import VocabularyUse

logger = get_logger(__name__)

_REMEMBERED_STEPS = 4096


class HeterogeneousWorker(DeviceWorker):
    """A rank of a heterogeneous engine; a failure in any of these methods ends the engine."""

    def __init__(
        self,
        vllm_config: "VllmConfig",
        local_rank: int,
        rank: int,
        distributed_init_method: str,
        is_driver_worker: bool = False,
    ) -> None:
        self.rank_entry = rank_map(vllm_config.parallel_config.world_size).ranks[rank]
        adapt_to_rank(vllm_config, self.rank_entry)
        sliding_window_blocks.apply()
        store_on_loopback.apply()
        if self.rank_entry.is_cpu:
            memory_nodes.apply()
            cpu_discarded_draws.apply()
            if vllm_config.lora_config is not None:
                lora_base_rows.apply()
        # vLLM takes a GPU worker's CUDA index from its local rank, which counts CPU ranks.
        cuda_index = self.rank_entry.cuda_index
        self._start(
            vllm_config=vllm_config,
            local_rank=local_rank if cuda_index is None else cuda_index,
            rank=rank,
            distributed_init_method=distributed_init_method,
            is_driver_worker=is_driver_worker,
        )

    @ends_the_engine
    def _start(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @ends_the_engine
    def init_device(self) -> None:
        if self.rank_entry.is_cpu:
            settle(self.rank_entry, own_memory_nodes(self.rank_entry))
        super().init_device()

    @ends_the_engine
    def load_model(self, *args: Any, **kwargs: Any) -> Any:
        memory, weights = WeightMemory(), LayerWeights()
        with layer_weights.counted_by(weights), self._prepared_for_loading() as policy:
            loaded = super().load_model(*args, **kwargs)
        self.second_copy_bytes = policy.second_copy_bytes if policy is not None else 0
        self.weight_bytes = memory.used_by(self.model_runner)
        agree_on_tokens(self.model_runner)
        self._measure_steps(weights.read_bytes)
        return loaded

    def _measure_steps(self, layer_read_bytes: int | None) -> None:
        self._record = own = record.own()
        assert own is not None
        own.set(Word.WEIGHT_BYTES, self.weight_bytes)
        self._meter = StepMeter(own, layer_read_bytes, self.model_runner.device)
        self._remembered: deque[StageTime] = deque(maxlen=_REMEMBERED_STEPS)
        remember = (self._remembered.append,) if env.stage_times() else ()
        self._timer = StepTimer(self.model_runner, self._meter.computed, *remember)

    @ends_the_engine
    def get_kv_cache_spec(self) -> dict[str, Any]:
        specs = super().get_kv_cache_spec()
        ranks = rank_map(self.vllm_config.parallel_config.world_size)
        return alike_on_all_devices(specs) if ranks.is_mixed else specs

    def held(self, kv_cache_bytes: list[int]) -> Held:
        """What this rank holds.

        Args:
            kv_cache_bytes: Size of each rank's KV cache, as the engine decided.
        """
        layers = self.model_config.get_layers_start_end_indices(self.parallel_config)
        self._record.set(Word.KV_CACHE_BYTES, kv_cache_bytes[self.rank])
        return Held(layers, self.weight_bytes, kv_cache_bytes[self.rank])

    def stage_times(self) -> list[dict[str, Any]]:
        """The steps since the last call, each as a dict of :class:`StageTime`.

        Called by ``LLM.collective_rpc`` or, in vLLM's development mode, over HTTP.

        Raises:
            RuntimeError: they are not recorded.
        """
        if not env.stage_times():
            raise RuntimeError(f"stage times are not recorded; start with {env.STAGE_TIMES}=1")
        self._timer.finish()
        steps = [asdict(step) for step in self._remembered]
        self._remembered.clear()
        return steps

    def _prepared_for_loading(self) -> "AbstractContextManager[LinearPolicy | None]":
        if not self.rank_entry.is_cpu:
            return nullcontext()
        from vllm_hetero.cpu_linear.load import choosing_linear_kernels

        nodes = own_memory_nodes(self.rank_entry)
        ranks = rank_map(self.vllm_config.parallel_config.world_size).ranks
        others = [set(own_memory_nodes(rank)) for rank in ranks if rank.is_cpu]
        return choosing_linear_kernels(
            nodes=nodes,
            node_ranks=sum(not other.isdisjoint(nodes) for other in others),
            kv_cache_bytes=self.vllm_config.cache_config.kv_cache_memory_bytes,
            vocabulary=self._vocabulary_use(),
        )

    def _vocabulary_use(self) -> "VocabularyUse":
        from vllm_hetero.cpu_linear.vocabulary import VocabularyUse

        model, group = self.model_config, get_pp_group()
        config = model.hf_text_config
        tied = getattr(config, "tie_word_embeddings", False) and group.is_last_rank
        # OPT's embeddings may be narrower than its layers.
        width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
        return VocabularyUse(
            head_width=int(width) if tied else None,
            embeds=group.is_first_rank,
            # A head in another type than the model's is cast in each step.
            head_is_read=model.runner_type != "generate" or model.head_dtype != model.dtype,
        )

    def profile(self, is_start: bool = True, profile_prefix: str | None = None) -> None:
        if self.rank_entry.is_cpu and self.vllm_config.profiler_config.profiler == "cuda":
            logger.warning("Rank %d is on the CPU, which the CUDA profiler cannot see.", self.rank)
            return
        super().profile(is_start, profile_prefix)

    @ends_the_engine
    def determine_available_memory(self) -> int:
        with rehearsal():
            return super().determine_available_memory()

    @ends_the_engine
    def initialize_from_config(self, *args: Any, **kwargs: Any) -> Any:
        return super().initialize_from_config(*args, **kwargs)

    @ends_the_engine
    def compile_or_warm_up_model(self) -> Any:
        with rehearsal():
            return super().compile_or_warm_up_model()

    @ends_the_engine
    def execute_model(self, scheduler_output: "SchedulerOutput") -> Any:
        begun_s = self._meter.begins()
        output = super().execute_model(scheduler_output)
        self._meter.ends(begun_s, scheduler_output.total_num_scheduled_tokens)
        return output

    @ends_the_engine
    def sample_tokens(self, *args: Any, **kwargs: Any) -> Any:
        begun_s = self._meter.begins()
        output = super().sample_tokens(*args, **kwargs)
        self._timer.settle()
        self._meter.ends(begun_s)
        return output
