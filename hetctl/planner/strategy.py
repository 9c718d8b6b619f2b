"""The strategies that a plan chooses from, each solved for the machine at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hetctl.plan import Strategy
from hetctl.planner.device import Device
from hetctl.planner.inventory import Inventory
from hetctl.planner.memory import MemoryModel
from hetctl.planner.pipeline import assigned, fastest, on_one
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.request import PlanRequest
from hetctl.planner.shortage import shortage, streamed_pipeline_shortage, streaming_shortage
from hetctl.planner.streamed import with_prefetch, with_uva
from hetctl.planner.streamed_pipeline import STRATEGY_OF, Backend, streamed_pipeline
from hetctl.planner.streamed_shares import STRATEGY_OF as SHARES_STRATEGY_OF
from hetctl.planner.streamed_shares import Backend as SharesBackend
from hetctl.planner.streamed_shares import share_memory, streamed_shares
from hetctl.planner.tensor_parallel import (
    all_reduce_of,
    cannot_divide,
    groups_of,
    is_mixed,
    share_of,
)

# Predictions are not good to so little, and the best strategy should not be missed by more.
AS_GOOD = 1.03

_Solve = Callable[[Placer, Sequence[Device], int], Placement | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One strategy: its best placement, or why there is none."""

    strategy: Strategy
    name: str
    """For people, such as ``one GPU``."""
    devices: tuple[Device, ...]
    placement: Placement | None
    why_not: str = ""
    """The number that makes it infeasible."""


def candidates(inventory: Inventory, placer: Placer) -> list[Candidate]:
    """Every strategy that the devices allow, each at its best."""
    gpus, cpus, required = inventory.gpus, inventory.cpus, inventory.cpus_required
    found = []
    if gpus:
        found.append(_alone("gpu", "one GPU", gpus, placer))
    if len(gpus) > 1:
        placement = fastest(placer, inventory.gpu_orders, at_least=(2, 0))
        found.append(_pipeline("gpu", "GPUs in a pipeline", gpus, placement, placer))
        found.append(
            _tensor_parallel(
                "gpu-tp",
                "GPUs in tensor parallel",
                [gpus[:ranks] for ranks in range(len(gpus), 1, -1)],
                placer,
            )
        )
    too_large = all(candidate.placement is None for candidate in found)
    if gpus and too_large:
        found += _streamed(gpus, inventory.host_bytes, placer)
        found += _streamed_shares(gpus, inventory.host_bytes, placer)
    if gpus and cpus:
        placement = fastest(placer, inventory.orders, at_least=(1, 1), cpus_required=required)
        devices = inventory.orders[0]
        found.append(_pipeline("pipeline", "GPU and CPU", devices, placement, placer))
        if too_large:
            found += _streamed_pipelines(inventory, placer)
        found.append(
            _tensor_parallel(
                "mixed-tp",
                "GPU and CPU in tensor parallel",
                groups_of(gpus, cpus, required),
                placer,
            )
        )
    if cpus and not (required and len(cpus) > 1):
        found.append(_alone("cpu", "one CPU rank", cpus, placer))
    if len(cpus) > 1:
        placement = fastest(placer, inventory.cpu_orders, at_least=(0, 2), cpus_required=required)
        found.append(_pipeline("cpu", "CPU ranks in a pipeline", cpus, placement, placer))
        found.append(
            _tensor_parallel(
                "cpu-tp",
                "CPU ranks in tensor parallel",
                [
                    cpus[:ranks]
                    for ranks in range(len(cpus), 1, -1)
                    if ranks == len(cpus) or not required
                ],
                placer,
            )
        )
    return found


def choose(
    request: PlanRequest, inventory: Inventory, found: Sequence[Candidate], placer: Placer
) -> Placement | None:
    """The placement to run: the best that the request allows, or None if none fits.

    One that keeps the goal's limits comes before one that does not.
    """
    split = request.split
    if isinstance(split, tuple):
        return _best(
            [assigned(placer, order, split, inventory.cpus_required) for order in inventory.orders],
            placer,
        )
    allowed = [
        candidate
        for candidate in found
        if request.strategy in ("auto", candidate.strategy)
        and not (inventory.cpus_required and all(d.kind == "cuda" for d in candidate.devices))
    ]
    if split == "none":
        # One device, and a GPU before any CPU: that is what "no split" is asked for.
        for strategy in ("gpu", "cpu"):
            alone = [
                c.placement
                for c in allowed
                if c.strategy == strategy and c.placement and len(c.placement.stages) == 1
            ]
            if alone:
                return _best(alone, placer)
        return None
    return _simplest([candidate.placement for candidate in allowed], placer)


def _alone(strategy: Strategy, name: str, devices: tuple[Device, ...], placer: Placer) -> Candidate:
    tried = {(device.rates, device.memory_limit_bytes): device for device in reversed(devices)}
    placement = _best([on_one(placer, device) for device in reversed(tried.values())], placer)
    largest = max(devices, key=lambda device: device.memory_limit_bytes)
    why_not = "" if placement else shortage([largest], placer.memory([largest]))
    return Candidate(strategy, name, devices, placement, why_not)


def _pipeline(
    strategy: Strategy,
    name: str,
    devices: tuple[Device, ...],
    placement: Placement | None,
    placer: Placer,
) -> Candidate:
    why_not = "" if placement else shortage(devices, placer.memory(devices))
    return Candidate(strategy, name, devices, placement, why_not)


def _tensor_parallel(
    strategy: Strategy, name: str, groups: Sequence[tuple[Device, ...]], placer: Placer
) -> Candidate:
    """The best of the groups of devices; the first one tells why, where none fits."""
    spec = placer.spec
    if spec.quantised and strategy != "gpu-tp":
        why_not = "it is tested with unquantised weights only"
        return Candidate(strategy, name, groups[-1], None, why_not)
    divisible = [devices for devices in groups if cannot_divide(spec, len(devices)) is None]
    if not divisible:
        why_not = cannot_divide(spec, len(groups[-1])) or ""
        return Candidate(strategy, name, groups[-1], None, why_not)
    tried = [_shared(strategy, name, devices, placer) for devices in divisible]
    placement = _best([candidate.placement for candidate in tried], placer)
    return next(candidate for candidate in tried if candidate.placement is placement)


def _shared(
    strategy: Strategy, name: str, devices: tuple[Device, ...], placer: Placer
) -> Candidate:
    """Every layer divided among ``devices``, each with the same share of the model."""
    serving = replace(placer.serving(devices, stages=1), cuda_graphs=not is_mixed(devices))
    memory = MemoryModel.of(share_of(placer.spec, len(devices)), serving)
    layers = len(memory.spec.layers)
    for device in devices:
        if memory.needed(device, 0, layers) > device.memory_limit_bytes:
            return Candidate(strategy, name, devices, None, shortage([device], memory))
    cost = placer.share_cost(memory, all_reduce_of(devices))
    placement = placer.place_shares(strategy, devices, memory, cost)
    return Candidate(strategy, name, devices, placement)


def _streamed(gpus: tuple[Device, ...], host_bytes: int, placer: Placer) -> list[Candidate]:
    found = []
    kinds: tuple[tuple[Strategy, str, _Solve], ...] = (
        ("uva", "GPU with UVA weights", with_uva),
        ("prefetch", "GPU with prefetched layers", with_prefetch),
    )
    for strategy, name, solve in kinds:
        placement = solve(placer, gpus, host_bytes)
        why_not = ""
        if placement is None:
            why_not = streaming_shortage(gpus, placer.memory(gpus), strategy, host_bytes)
        found.append(Candidate(strategy, name, gpus, placement, why_not))
    return found


def _streamed_shares(gpus: tuple[Device, ...], host_bytes: int, placer: Placer) -> list[Candidate]:
    """Layers divided among GPUs that stream, by the best number of GPUs."""
    if len(gpus) < 2:
        return []
    groups = [gpus[:ranks] for ranks in range(len(gpus), 1, -1)]
    divisible = [group for group in groups if cannot_divide(placer.spec, len(group)) is None]
    kinds: tuple[tuple[SharesBackend, str], ...] = (
        ("uva", "GPUs in tensor parallel, UVA weights"),
        ("prefetch", "GPUs in tensor parallel, prefetching"),
    )
    found = []
    for backend, name in kinds:
        tried = [streamed_shares(placer, group, host_bytes, backend) for group in divisible]
        placement, why_not = _best(tried, placer), ""
        if not divisible:
            why_not = cannot_divide(placer.spec, len(groups[-1])) or ""
        elif placement is None:
            memory = share_memory(placer, divisible[0])
            why_not = streaming_shortage(divisible[0], memory, backend, host_bytes)
        devices = placement.devices if placement else gpus
        found.append(Candidate(SHARES_STRATEGY_OF[backend], name, devices, placement, why_not))
    return found


def _streamed_pipelines(inventory: Inventory, placer: Placer) -> list[Candidate]:
    found = []
    orders, host_bytes = inventory.orders, inventory.host_bytes
    kinds: tuple[tuple[Backend, str], ...] = (
        ("uva", "GPU and CPU, UVA weights"),
        ("prefetch", "GPU and CPU, prefetching"),
    )
    for backend, name in kinds:
        placement = streamed_pipeline(placer, orders, host_bytes, backend, inventory.cpus_required)
        why_not = "" if placement else streamed_pipeline_shortage(orders, host_bytes)
        found.append(Candidate(STRATEGY_OF[backend], name, orders[0], placement, why_not))
    return found


def _best(placements: Sequence[Placement | None], placer: Placer) -> Placement | None:
    fits = [placement for placement in placements if placement is not None]
    return min(fits, key=lambda placement: placement.key(placer.goal), default=None)


def _simplest(placements: Sequence[Placement | None], placer: Placer) -> Placement | None:
    """The best one, or of those that are as good as it the one of fewest ranks: each is a process
    that starts, takes memory and can fail."""
    best = _best(placements, placer)
    if best is None:
        return None
    excess, objective_s = best.key(placer.goal)
    as_good = [
        placement
        for placement in placements
        if placement is not None and placement.key(placer.goal) <= (excess, AS_GOOD * objective_s)
    ]
    return min(as_good, key=lambda found: (len(found.stages), found.key(placer.goal)))
