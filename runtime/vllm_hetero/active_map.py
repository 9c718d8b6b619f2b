"""The rank map of this run, resolved once per process."""

import os
from functools import cache

from vllm_hetero import env
from vllm_hetero.cpu_assignment import check_cpus, with_cpus
from vllm_hetero.cpu_quota import cpu_quota
from vllm_hetero.default_map import default_rank_map
from vllm_hetero.log import get_logger
from vllm_hetero.rank_map import RankMap, RankMapError
from vllm_hetero.topology import node_cpus, usable_cores

logger = get_logger(__name__)


@cache
def rank_map(world_size: int) -> RankMap:
    """The user's map, or the default one, for ``world_size`` ranks; each CPU rank that names
    a NUMA node has CPUs.

    The engine resolves it once and passes it to each rank in the environment, so that
    all processes hold the same map.

    Raises:
        RankMapError: the map is malformed, has another number of ranks, or names a node or
            CPUs that are not there.
    """
    given = os.environ.get(env.RANK_MAP)
    if not given:
        return default_rank_map(world_size, env.visible_gpus(), usable_cores(), cpu_quota())
    found = RankMap.from_env(given)
    if len(found.ranks) != world_size:
        raise RankMapError(
            f"the rank map lists {len(found.ranks)} ranks, but tensor x pipeline parallel "
            f"size is {world_size}; make them equal"
        )
    if env.role() != "engine":
        return found
    for warning in check_cpus(found, node_cpus(), os.sched_getaffinity(0)):
        logger.warning("%s", warning)
    return with_cpus(found, usable_cores(), cpu_quota())
