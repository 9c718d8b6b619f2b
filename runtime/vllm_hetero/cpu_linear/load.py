"""Chooses linear kernels while a CPU rank loads its model."""

from collections.abc import Iterator
from contextlib import contextmanager

from vllm.utils.cpu_resource_utils import get_memory_node_info

from vllm_hetero.cpu_linear.policy import LinearPolicy, mode_from_env
from vllm_hetero.cpu_linear.report import summary
from vllm_hetero.log import get_logger
from vllm_hetero.patches import cpu_linear as patch

logger = get_logger(__name__)


@contextmanager
def choosing_linear_kernels(
    numa_node: int | None, node_ranks: int, kv_cache_bytes: int
) -> Iterator[None]:
    """Equip the linear layers of the model that is loaded meanwhile; log the outcome.

    Second copies may take half of what the rank's share of the node's free memory leaves
    when all weights are loaded and the KV cache is counted.

    Args:
        numa_node: Node that the rank's memory is bound to; None is node 0.
        node_ranks: CPU ranks that share the node, this one included.
        kv_cache_bytes: What the KV cache will take after loading.

    Raises:
        ValueError: ``VLLM_HETERO_CPU_LINEAR`` is none of the modes.
    """

    def copy_limit() -> int:
        available = get_memory_node_info(numa_node or 0).available_memory
        return max(0, (available // node_ranks - kv_cache_bytes) // 2)

    policy = LinearPolicy(mode_from_env(), copy_limit)
    with patch.layers_equipped_by(policy):
        yield
    logger.info("%s", summary(policy))
