"""What devices and placements are called in sentences."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from hetctl.planner.device import Device
from hetctl.planner.placement import Placement
from hetctl.units import format_bytes

_MOST_STAGES_TO_SPELL = 3


def name_of(placement: Placement) -> str:
    """``8+24 layers on cpu (node 0) + cuda:0``, ``cuda:0 alone`` and the like."""
    devices = placement.devices
    where = names_of(devices)
    if placement.offload is not None:
        host = format_bytes(sum(stage.host_bytes for stage in placement.stages))
        how = "read" if placement.offload.backend == "uva" else "copied"
        with_split = len(devices) > 1 and any(device.kind == "cpu" for device in devices)
        if with_split and len(devices) <= _MOST_STAGES_TO_SPELL:
            where = f"{'+'.join(map(str, placement.split))} layers on {where}"
        if placement.tensor_parallel > 1:
            where = f"{where} in tensor parallel"
        return f"{where} with {host} of weights {how} from host memory"
    if placement.tensor_parallel > 1:
        return f"{where} in tensor parallel"
    if len(devices) == 1:
        return f"{where} alone"
    if len(devices) > _MOST_STAGES_TO_SPELL:
        return f"a pipeline over {where}"
    return f"{'+'.join(map(str, placement.split))} layers on {where}"


def names_of(devices: Sequence[Device]) -> str:
    """``cpu (node 0) + cuda:0-6``: runs of like devices together."""
    names = []
    for kind, group in groupby(devices, key=lambda device: device.kind):
        members = list(group)
        if len(members) == 1:
            names.append(members[0].label)
        elif kind == "cuda":
            names.append("cuda:" + _numbers(int(d.name.removeprefix("cuda:")) for d in members))
        else:
            nodes = _numbers({d.numa_node for d in members if d.numa_node is not None})
            names.append(f"{len(members)} CPU ranks (node {nodes})")
    return " + ".join(names)


def _numbers(found: Iterable[int]) -> str:
    numbers = sorted(found)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
