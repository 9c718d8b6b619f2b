"""Patch: a CPU rank starts where memory cannot be bound to its NUMA node.

What: ``cpu_worker.get_visible_memory_node`` answers node 0 instead of nothing.
Why: where the kernel does not tell which nodes a process may use (gVisor, kernels without
cpusets), or the cpuset leaves out the rank's node, vLLM's CPU worker takes the first of an
empty list. Binding to node 0 then does nothing or is refused, with a warning from libnuma.
Removable when: ``CPUWorker`` copes with no visible memory node.
"""

from vllm_hetero.log import get_logger
from vllm_hetero.patches.contract import require_parameters

logger = get_logger(__name__)

_MARK = "_vllm_hetero"


def apply() -> None:
    """Replace the function; does nothing the second time."""
    from vllm.v1.worker import cpu_worker

    original = cpu_worker.get_visible_memory_node
    if hasattr(original, _MARK):
        return
    require_parameters(original, ())

    def get_visible_memory_node() -> list[int]:
        nodes: list[int] = original()
        if not nodes:
            logger.warning("Memory is not bound to a NUMA node: this process may use none of them.")
        return nodes or [0]

    setattr(get_visible_memory_node, _MARK, True)
    cpu_worker.get_visible_memory_node = get_visible_memory_node
