"""Which rates a placement's prediction rests on, and where each comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hetctl.document import Source
from hetctl.plan import Offload
from hetctl.planner.device import Device
from hetctl.planner.rates import weakest
from hetctl.planner.tensor_parallel import all_reduce_source, is_mixed


@dataclass(frozen=True, slots=True)
class RateUse:
    """One kind of rate that a prediction rests on."""

    name: str
    """For people: ``hand-overs``."""
    device: str
    source: Source


def rates_used(
    devices: Sequence[Device],
    offload: Offload | None,
    tensor_parallel: int,
    together: bool = False,
) -> tuple[RateUse, ...]:
    """The rates behind a placement on ``devices``, in pipeline order.

    Args:
        together: They work at the same time.
    """
    found = [use for device in devices for use in _of_rank(device, offload)]
    if tensor_parallel > 1:
        found.append(RateUse("all-reduces", "the group", all_reduce_source(devices)))
        if is_mixed(devices):
            found += [
                RateUse("launches without CUDA graphs", d.label, d.rates.sources.eager_overhead)
                for d in devices
                if d.kind == "cuda"
            ]
    elif len(devices) > 1:
        if together and offload is not None:
            found += map(_beside_one_another, devices)
        found += [RateUse("hand-overs", d.label, d.rates.sources.hop) for d in devices]
    return tuple(found)


def _of_rank(device: Device, offload: Offload | None) -> Iterator[RateUse]:
    sources = device.rates.sources
    yield RateUse("weights read", device.label, sources.weight_read)
    yield RateUse("matrix rate", device.label, sources.matmul)
    yield RateUse("attention", device.label, sources.attention_read)
    yield RateUse("launches", device.label, sources.layer_overhead)
    if offload is not None and device.kind == "cuda":
        streamed = sources.uva_read if offload.backend == "uva" else sources.host_copy
        yield RateUse("streamed weights", device.label, streamed)


def _beside_one_another(device: Device) -> RateUse:
    rates = device.rates
    measured = rates.while_copying or rates.while_cpu_reads is not None
    source: Source = "measured" if measured else "estimate"
    return RateUse("memory that copies and CPU ranks share", device.label, source)


def weakest_source(used: Sequence[RateUse]) -> Source:
    """What a prediction on these rates is called."""
    return weakest(use.source for use in used)


def estimated(used: Sequence[RateUse]) -> list[str]:
    """The names of the rates that are estimates, each once."""
    return list(dict.fromkeys(use.name for use in used if use.source == "estimate"))
