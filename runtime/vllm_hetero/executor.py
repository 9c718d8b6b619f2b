"""Starts the ranks, each with its own environment, and reports which one failed."""

import os
import shutil
import tempfile
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, NoReturn

from vllm import envs
from vllm.v1.executor.multiproc_executor import MultiprocExecutor

from vllm_hetero import env, shared_memory
from vllm_hetero.active_map import rank_map
from vllm_hetero.affinity import bind_process
from vllm_hetero.answers import answer, values
from vllm_hetero.cause import Causes
from vllm_hetero.failure import FailureBoard
from vllm_hetero.log import get_logger
from vllm_hetero.metrics import folder
from vllm_hetero.preload import missing_libraries
from vllm_hetero.rank_environment import RankEnvironment
from vllm_hetero.rank_map import RankMap
from vllm_hetero.rank_table import Held, describe
from vllm_hetero.stall import STEPS, Limits, StallWatch

if TYPE_CHECKING:
    from vllm.v1.kv_cache_interface import KVCacheConfig

logger = get_logger(__name__)

DEFAULT_START_S = 600.0
"""As long as vLLM waits for its engine (``VLLM_ENGINE_READY_TIMEOUT_S``)."""


class HeterogeneousExecutor(MultiprocExecutor):
    """vLLM's multiprocess executor over GPU and CPU ranks.

    It differs in this: a rank's environment comes from the rank map; a rank that hangs is
    found; when a rank fails, its own error is what the engine reports, and the others do
    not outlive it.
    """

    supports_pp = True

    def _init_executor(self) -> None:
        from vllm_hetero.kernels import ensure_kernels
        from vllm_hetero.patches import step_pause
        from vllm_hetero.patches.rank_environment import ranks_start_with
        from vllm_hetero.patches.rank_process import ranks_run_as_rank_processes

        # The engine core makes its executor before it binds the method.
        step_pause.apply()
        self._ranks = ranks = rank_map(self.parallel_config.world_size)
        logger.info("Heterogeneous ranks:\n%s", describe(ranks))
        self._limits = time_limits()
        shared_memory.require_room(len(ranks.ranks))
        if ranks.cpu_ranks:
            ensure_kernels()
            if missing := missing_libraries():
                logger.info("%s", missing)
        self._run_dir = tempfile.TemporaryDirectory(
            prefix="vllm_hetero-", dir=envs.VLLM_RPC_BASE_PATH
        )
        self._metrics_dir = os.environ.get(env.METRICS_DIR) or self._run_dir.name
        folder.prepare(self._metrics_dir, ranks)
        self._causes = Causes(ranks, FailureBoard.at(self._run_dir.name))
        self._watch = StallWatch(ranks, self._run_dir.name, self._limits, self._end_stalled)
        self._processes: list[BaseProcess] = []
        self._init_method: str | None = None
        self._starting = True
        environment = RankEnvironment(ranks, self._run_dir.name)
        self._watch.start()
        try:
            with (
                ranks_start_with(environment),
                ranks_run_as_rank_processes(self._process_started),
            ):
                super()._init_executor()
        except Exception as error:
            self._watch.stop()
            self._raise_with_cause(error)
        # Only now: ranks start with the CPUs that this process has.
        bind_process(environment.other_cpus)
        self._starting = False
        self._watch.all_ready()

    def _process_started(self, rank: int, process: BaseProcess, init_method: str) -> None:
        self._processes.append(process)
        self._init_method = init_method
        self._watch.process_started(rank, process)

    def collective_rpc(
        self,
        method: Any,
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        non_block: bool = False,
        unique_reply_rank: int | None = None,
        kv_output_aggregator: Any = None,
    ) -> Any:
        name = method if isinstance(method, str) else getattr(method, "__name__", "a function")
        if name in STEPS:
            # The watch names the rank that hangs; vLLM's own timeout names nobody.
            timeout = None
        asks_all = unique_reply_rank is None and kv_output_aggregator is None and not non_block
        call = self._watch.calls.begin(name)
        try:
            result = super().collective_rpc(
                partial(answer, method) if asks_all else method,
                timeout,
                args,
                kwargs,
                non_block,
                unique_reply_rank,
                kv_output_aggregator,
            )
        except Exception as error:
            self._watch.calls.end(call)
            if isinstance(error, TimeoutError):
                # A reply that comes late would be taken for that of the next call.
                self._end_stalled(f"{name} was not answered within {timeout:.0f} s")
            self._raise_with_cause(error)
        if non_block:
            result.add_done_callback(lambda _: self._watch.calls.end(call))
            return result
        self._watch.calls.end(call)
        return values(result) if asks_all else result

    def initialize_from_config(self, kv_cache_configs: "list[KVCacheConfig]") -> None:
        super().initialize_from_config(kv_cache_configs)
        sizes = [
            sum(tensor.size for tensor in config.kv_cache_tensors) for config in kv_cache_configs
        ]
        held: list[Held] = self.collective_rpc("held", args=(sizes,))
        layers = zip(self._ranks.ranks, held, strict=True)
        ready = RankMap(tuple(replace(rank, layers=has.layers) for rank, has in layers))
        folder.describe(self._metrics_dir, ready)
        logger.info("Ranks are ready:\n%s", describe(self._ranks, held))

    def shutdown(self) -> None:
        if (watch := getattr(self, "_watch", None)) is not None:
            watch.stop()
        super().shutdown()
        if (run_dir := getattr(self, "_run_dir", None)) is not None:
            run_dir.cleanup()
            shutil.rmtree(self._metrics_dir, ignore_errors=True)

    def _end_stalled(self, cause: str) -> None:
        """Called by the watch: end all ranks, which vLLM's monitor takes for a failure."""
        self._causes.say(cause)
        for process in self._processes:
            process.kill()

    def _ensure_worker_termination(self, worker_procs: list[BaseProcess]) -> None:
        """vLLM calls this when the start failed and at every end, before it kills anyone:
        the last moment at which a rank that ended by itself can be told from the others."""
        if self._starting or self.is_failed:
            self._causes.look_at(worker_procs, wait_s=1.0 if self._starting else 0.0)
            # Their work is lost, and asking them to clean up first would take ten seconds
            # if one of them waits for the rank that failed.
            for process in worker_procs:
                process.kill()
        super()._ensure_worker_termination(worker_procs)
        if self._init_method is not None:
            shared_memory.remove_group_segments(self._init_method)

    def _raise_with_cause(self, error: Exception) -> NoReturn:
        cause = self._causes.first()
        if cause is None:
            raise error
        raise RuntimeError(cause) from error


def time_limits() -> Limits:
    """The longest times that ranks may take, as the user set them.

    Raises:
        ValueError: a variable is malformed.
    """
    return Limits(
        step_s=env.seconds(env.STALL_TIMEOUT_S, envs.VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS),
        start_s=env.seconds(env.START_TIMEOUT_S, DEFAULT_START_S),
    )
