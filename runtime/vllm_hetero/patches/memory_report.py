"""Patch: the engine writes what each rank takes of its device's memory to a file.

What: ``Executor.initialize_from_config``, after which all ranks are ready, also asks each rank
for its memory and writes the answers (:mod:`vllm_hetero.rank_memory`).
Why: what a plan promised is compared with what came of it, also for engines of GPUs alone,
which are vLLM's own from the executor down. vLLM says these figures in its log only.
Removable when: vLLM offers them as data, such as metrics in bytes.
"""

from pathlib import Path
from typing import Any

from vllm_hetero.log import get_logger
from vllm_hetero.patches.contract import require_parameters
from vllm_hetero.rank_memory import RankMemory, note_graph_memory, rank_memory, write_report

logger = get_logger(__name__)


def apply(path: Path) -> None:
    """Wrap the method; does nothing the second time."""
    from vllm.v1.executor.abstract import Executor

    original = Executor.initialize_from_config
    if hasattr(original, "reports_memory"):
        return
    require_parameters(original, ("self", "kv_cache_configs"))

    def initialize_from_config(self: Executor, kv_cache_configs: list[Any]) -> None:
        self.collective_rpc(note_graph_memory)
        original(self, kv_cache_configs)
        if problem := _reported(path, self.collective_rpc(rank_memory)):
            logger.warning("The ranks' memory is not reported: %s", problem)

    initialize_from_config.reports_memory = True  # type: ignore[attr-defined]
    Executor.initialize_from_config = initialize_from_config


def _reported(path: Path, ranks: list[RankMemory | str]) -> str | None:
    """Write the report, or say why not."""
    for rank in ranks:
        if isinstance(rank, str):
            return rank
    try:
        write_report(path, ranks)
    except OSError as error:
        return str(error)
    return None
