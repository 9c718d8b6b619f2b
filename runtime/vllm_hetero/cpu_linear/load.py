"""Chooses linear kernels while a CPU rank loads its model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from vllm.utils.cpu_resource_utils import get_memory_node_info

from vllm_hetero.cpu_linear.mode import mode_from_env
from vllm_hetero.cpu_linear.policy import LinearPolicy
from vllm_hetero.cpu_linear.report import summary
from vllm_hetero.cpu_linear.vocabulary import VocabularyUse
from vllm_hetero.log import get_logger
from vllm_hetero.patches import cpu_linear as patch

logger = get_logger(__name__)


@contextmanager
def choosing_linear_kernels(
    nodes: Sequence[int], node_ranks: int, kv_cache_bytes: int, vocabulary: VocabularyUse
) -> Iterator[LinearPolicy]:
    """Equip the linear layers of the model that is loaded meanwhile; log the outcome. The policy
    that chooses can tell it, too.

    Second copies may take half of what the rank's share of its nodes' free memory leaves
    when all weights are loaded and the KV cache is counted.

    Args:
        nodes: NUMA nodes that the rank's memory comes from.
        node_ranks: CPU ranks that have a part in them, this one included.
        kv_cache_bytes: What the KV cache will take after loading.
        vocabulary: What the rank's embeddings and head are for.

    Raises:
        ValueError: ``VLLM_HETERO_CPU_LINEAR`` is none of the modes.
    """

    def copy_limit() -> int:
        available = sum(get_memory_node_info(node).available_memory for node in nodes)
        return max(0, (available // node_ranks - kv_cache_bytes) // 2)

    policy = LinearPolicy(mode_from_env(), copy_limit)
    with patch.layers_equipped_by(policy, vocabulary):
        yield policy
    policy.loaded()
    logger.info("%s", summary(policy))
