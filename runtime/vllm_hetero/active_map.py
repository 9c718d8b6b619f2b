"""The rank map of this run, resolved once per process."""

import os
from functools import cache

from vllm_hetero import env
from vllm_hetero.default_map import default_rank_map
from vllm_hetero.rank_map import RankMap, RankMapError
from vllm_hetero.topology import usable_cores


@cache
def rank_map(world_size: int) -> RankMap:
    """The user's map, or the default one, for ``world_size`` ranks.

    The engine resolves it once and passes it to each rank in the environment, so that
    all processes hold the same map.

    Raises:
        RankMapError: the map is malformed or has another number of ranks.
    """
    given = os.environ.get(env.RANK_MAP)
    if not given:
        return default_rank_map(world_size, env.visible_gpus(), usable_cores())
    found = RankMap.from_env(given)
    if len(found.ranks) != world_size:
        raise RankMapError(
            f"the rank map lists {len(found.ranks)} ranks, but tensor x pipeline parallel "
            f"size is {world_size}; make them equal"
        )
    return found
