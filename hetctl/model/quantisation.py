"""How a checkpoint's quantised weights share scales, read from ``config.json``."""

from collections.abc import Mapping
from typing import Any

from hetctl.errors import UsageError
from hetctl.model.spec import ScaleBlock


def scale_block(config: Mapping[str, Any]) -> ScaleBlock | None:
    """Outputs and inputs that share a scale, or None where rows, columns or matrices do.

    Args:
        config: ``quantization_config`` or ``compression_config``.

    Raises:
        UsageError: a size that is no number.
    """
    found = next(filter(None, map(_sizes, _parts(config))), None)
    if found is None:
        return None
    try:
        outputs, inputs = map(int, found)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"config.json: {found!r} is not how many outputs and inputs share a scale."
        ) from error
    # -1 stands for whole rows.
    return (outputs, inputs) if min(outputs, inputs) >= 1 and max(outputs, inputs) > 1 else None


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where sizes may stand: on top, and in compressed-tensors' groups."""
    groups = config.get("config_groups")
    inner = groups.values() if isinstance(groups, Mapping) else ()
    weights = [group.get("weights") for group in inner if isinstance(group, Mapping)]
    return [config, *(part for part in weights if isinstance(part, Mapping))]


def _sizes(part: Mapping[str, Any]) -> Any:
    """Outputs and inputs as the config has them; None where it says nothing."""
    block = part.get("weight_block_size") or part.get("block_structure")
    group = part.get("q_group_size") or part.get("group_size")
    return block or (group and (1, group))
