"""Patch: the executor's per-rank environment comes from the rank map.

What: while ranks are spawned, ``multiproc_executor.OMPProcessManager`` is ours.
Why: vLLM's class does nothing unless the engine's platform is CPU, and there it binds rank
N to NUMA node N and asserts that ranks do not outnumber nodes.
Removable when: ``MultiprocExecutor`` asks an overridable method for a rank's environment.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from vllm.v1.executor import multiproc_executor

from vllm_hetero.patches.contract import require_parameters
from vllm_hetero.rank_environment import RankEnvironment


@contextmanager
def ranks_start_with(environment: RankEnvironment) -> Iterator[None]:
    """Let ``environment`` set each rank's variables while the context lasts."""
    original = multiproc_executor.OMPProcessManager
    require_parameters(original.configure_omp_envs, ("self", "rank", "local_rank"))
    multiproc_executor.OMPProcessManager = lambda config: environment
    try:
        yield
    finally:
        multiproc_executor.OMPProcessManager = original
