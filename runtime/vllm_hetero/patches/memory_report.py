"""Patch: the engine writes what each rank takes of its device's memory to a file.

What: ``Executor.initialize_from_config``, after which all ranks are ready, also asks each rank
for its memory and writes the answers (:mod:`vllm_hetero.rank_memory`).
Why: what a plan promised is compared with what came of it, also for engines of GPUs alone,
which are vLLM's own from the executor down. vLLM says these figures in its log only.
Removable when: vLLM offers them as data, such as metrics in bytes.
"""

from pathlib import Path
from typing import Any

from vllm_hetero.patches.contract import require_parameters
from vllm_hetero.rank_memory import note_graph_memory, rank_memory, write_report


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
        write_report(path, self.collective_rpc(rank_memory))

    initialize_from_config.reports_memory = True  # type: ignore[attr-defined]
    Executor.initialize_from_config = initialize_from_config
