"""The strategies that a plan chooses from, each solved for the machine at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

from hetctl.plan import Strategy
from hetctl.planner.device import Device
from hetctl.planner.inventory import Inventory
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.request import Split


@dataclass(frozen=True, slots=True)
class Candidate:
    """One strategy: its best placement, or the devices that could not hold the model."""

    strategy: Strategy
    name: str
    """For people, such as ``one GPU``."""
    devices: tuple[Device, ...]
    placement: Placement | None
    alone: bool = False
    """One of the devices on its own, not several together."""


def candidates(inventory: Inventory, placer: Placer) -> list[Candidate]:
    """Every strategy that the devices allow, each at its best."""
    gpus, cpus, required = inventory.gpus, inventory.cpus, inventory.cpus_required
    found = []
    if gpus:
        found.append(_alone("gpu", "one GPU", gpus, placer))
    if len(gpus) > 1:
        placement = placer.fastest(inventory.gpu_orders, at_least=(2, 0))
        found.append(Candidate("gpu", "GPUs in a pipeline", gpus, placement))
    if gpus and cpus:
        placement = placer.fastest(inventory.orders, at_least=(1, 1), cpus_required=required)
        found.append(Candidate("pipeline", "GPU and CPU", inventory.orders[0], placement))
    if cpus and not (required and len(cpus) > 1):
        found.append(_alone("cpu", "one CPU rank", cpus, placer))
    if len(cpus) > 1:
        placement = placer.fastest(inventory.cpu_orders, at_least=(0, 2), cpus_required=required)
        found.append(Candidate("cpu", "CPU ranks in a pipeline", cpus, placement))
    return found


def choose(
    split: Split, inventory: Inventory, found: Sequence[Candidate], placer: Placer
) -> Placement | None:
    """The placement to run: the fastest that the split allows, or None if none fits."""
    if isinstance(split, tuple):
        return _best(
            [placer.assigned(order, split, inventory.cpus_required) for order in inventory.orders]
        )
    allowed = [c for c in found if not (inventory.cpus_required and c.strategy == "gpu")]
    if split == "none":
        # One device, and a GPU before any CPU: that is what "no split" is asked for.
        for strategy in ("gpu", "cpu"):
            alone = [
                c.placement
                for c in allowed
                if c.strategy == strategy and c.placement and len(c.placement.stages) == 1
            ]
            if alone:
                return _best(alone)
        return None
    return _best([candidate.placement for candidate in allowed])


def _alone(strategy: Strategy, name: str, devices: tuple[Device, ...], placer: Placer) -> Candidate:
    tried = [placer.fastest([(device,)]) for device in devices]
    return Candidate(strategy, name, devices, _best(tried), alone=True)


def _best(placements: Sequence[Placement | None]) -> Placement | None:
    fits = [placement for placement in placements if placement is not None]
    return min(fits, key=lambda placement: placement.objective_s, default=None)
