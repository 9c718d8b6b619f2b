"""Which devices a plan may use, and in which pipeline orders."""

from dataclasses import dataclass, replace

from hetctl.errors import UsageError
from hetctl.machine import Machine
from hetctl.model.spec import ModelSpec
from hetctl.planner.cpu_refusal import cpu_refusal
from hetctl.planner.device import (
    Device,
    Kind,
    cpu_devices,
    gpu_device,
    streamable_bytes,
    usable_cores,
)
from hetctl.planner.request import PlanRequest
from hetctl.units import format_bytes


@dataclass(frozen=True, slots=True)
class Inventory:
    """Devices under a request.

    Attributes:
        orders: Pipeline orders to consider, each of all devices.
        cpus_required: Every CPU rank must be used, as their number was asked for.
        host_bytes: Host memory that weights may be streamed from.
        cpu_refusal: Why no CPU rank may take part, as a clause.
    """

    orders: tuple[tuple[Device, ...], ...]
    cpus_required: bool = False
    host_bytes: int = 0
    cpu_refusal: str | None = None

    @property
    def gpu_orders(self) -> list[tuple[Device, ...]]:
        """The orders without the CPU ranks."""
        return self._orders_of("cuda")

    @property
    def cpu_orders(self) -> list[tuple[Device, ...]]:
        """The orders without the GPUs."""
        return self._orders_of("cpu")

    def _orders_of(self, kind: Kind) -> list[tuple[Device, ...]]:
        return _unlike([tuple(d for d in order if d.kind == kind) for order in self.orders])

    @property
    def gpus(self) -> tuple[Device, ...]:
        return tuple(device for device in self.orders[0] if device.kind == "cuda")

    @property
    def cpus(self) -> tuple[Device, ...]:
        return tuple(device for device in self.orders[0] if device.kind == "cpu")


def take_inventory(machine: Machine, spec: ModelSpec, request: PlanRequest) -> Inventory:
    """The devices that ``request`` allows on ``machine``.

    Raises:
        UsageError: an unknown device, options that contradict each other, more stages than
            devices, or nothing to run on.
    """
    _check_gpu_memory(machine, request)
    request = replace(request, cpu_ranks=_cpu_ranks(machine, spec, request))
    allowed = _allowed_gpus(machine, request)
    gpus = {
        f"cuda:{gpu.index}": gpu_device(gpu, request, spec.dtype, machine)
        for gpu in machine.gpus
        if f"cuda:{gpu.index}" in allowed
    }
    wants_cpu = request.devices is None or "cpu" in request.devices
    refusal = cpu_refusal(spec, machine.cpu)
    if refusal is not None:
        _refuse_cpu_ranks(refusal, request, gpus)
        wants_cpu = False
    cpus = cpu_devices(machine, request.cpu_ranks, spec.dtype, len(gpus)) if wants_cpu else ()
    if request.devices is None:
        orders = pipeline_orders(tuple(gpus.values()), cpus)
    else:
        orders = [_in_given_order(request.devices, gpus, cpus)]
    if not orders[0]:
        raise UsageError(
            "There is no device to run on: the machine has no GPU and no core that may be used, "
            "or the options rule all of them out."
        )
    inventory = Inventory(
        tuple(orders), bool(request.cpu_ranks), streamable_bytes(machine), cpu_refusal=refusal
    )
    _check_stages(request, inventory)
    return inventory


def _refuse_cpu_ranks(refusal: str, request: PlanRequest, gpus: dict[str, Device]) -> None:
    """Unless GPUs alone may run the model."""
    named = request.devices is not None and "cpu" in request.devices
    if named or request.cpu_ranks or not gpus:
        remedy = "leave the CPU out" if gpus else "a GPU is needed"
        raise UsageError(f"CPU ranks cannot take part: {refusal}; {remedy}.")


def pipeline_orders(gpus: tuple[Device, ...], cpus: tuple[Device, ...]) -> list[tuple[Device, ...]]:
    """Orders that can differ in speed or fit: GPUs before or after CPU ranks, and unlike
    devices of one kind in either direction, the slow or the large ones first.

    Order matters at the ends only, where the embedding and the head are, and where layers
    are unlike; for up to two unlike devices of a kind these are all orders there are.
    """
    found = [
        order
        for front in _orders_of_kind(gpus)
        for back in _orders_of_kind(cpus)
        for order in (front + back, back + front)
    ]
    return _unlike(found)


def _orders_of_kind(devices: tuple[Device, ...]) -> list[tuple[Device, ...]]:
    slow_first = sorted(devices, key=lambda device: device.rates.weight_read.at(1))
    large_first = sorted(devices, key=lambda device: -device.memory_limit_bytes)
    return _unlike([devices, devices[::-1], tuple(slow_first), tuple(large_first)])


def _unlike(orders: list[tuple[Device, ...]]) -> list[tuple[Device, ...]]:
    """Each order once, where devices of the same speed and memory count as the same."""
    kept: dict[tuple[object, ...], tuple[Device, ...]] = {}
    for order in orders:
        kept.setdefault(tuple((d.kind, d.rates, d.memory_limit_bytes) for d in order), order)
    return list(kept.values())


def _allowed_gpus(machine: Machine, request: PlanRequest) -> tuple[str, ...]:
    present = tuple(f"cuda:{gpu.index}" for gpu in machine.gpus)
    if request.devices is None:
        return present
    wanted = tuple(name for name in request.devices if name != "cpu")
    for name in wanted:
        if name not in present:
            has = ", ".join(present) if present else "no GPU"
            raise UsageError(f"--devices names {name}, but this machine has {has}.")
    return wanted


def _cpu_ranks(machine: Machine, spec: ModelSpec, request: PlanRequest) -> int | None:
    """How many CPU ranks were asked for, in any of the three ways; None for no wish."""
    ranks = request.cpu_ranks
    if request.devices is not None:
        named = request.devices.count("cpu")
        if named == 0 and ranks:
            raise UsageError(
                f"--cpu-ranks {ranks} contradicts --devices {','.join(request.devices)}, "
                f"which has no cpu."
            )
        if named > 1:
            if ranks not in (None, named):
                raise UsageError(f"--devices names cpu {named} times, but --cpu-ranks is {ranks}.")
            ranks = named
    if ranks is not None and ranks > len(spec.layers):
        raise UsageError(
            f"{ranks} CPU ranks are more than the {len(spec.layers)} layers of {spec.name}; "
            f"each rank needs at least one."
        )
    cpu_only = not machine.gpus if request.devices is None else set(request.devices) == {"cpu"}
    nodes = sum(1 for node in machine.numa_nodes if node.cores)
    stages = len(request.split) if isinstance(request.split, tuple) else 0
    # Without GPUs there is only one way to have more stages than nodes: share them.
    if ranks is None and cpu_only and nodes < stages <= usable_cores(machine):
        return stages
    return ranks


def _in_given_order(
    names: tuple[str, ...], gpus: dict[str, Device], cpus: tuple[Device, ...]
) -> tuple[Device, ...]:
    """``cpu`` stands for all CPU ranks, or for the next one where it is named repeatedly."""
    left = list(cpus)
    repeated = names.count("cpu") > 1
    ordered: list[Device] = []
    for name in names:
        if name != "cpu":
            ordered.append(gpus[name])
        elif repeated:
            ordered.append(left.pop(0))
        else:
            ordered.extend(left)
    return tuple(ordered)


def _check_gpu_memory(machine: Machine, request: PlanRequest) -> None:
    pretended = request.gpu_memory_bytes
    if pretended is None or not machine.gpus:
        return
    largest = max(gpu.memory_total_bytes for gpu in machine.gpus)
    if pretended > largest:
        raise UsageError(
            f"--gpu-memory {format_bytes(pretended)} is more than the GPUs have "
            f"({format_bytes(largest)}); it can only pretend less."
        )


def _check_stages(request: PlanRequest, inventory: Inventory) -> None:
    if request.split == "none" and inventory.cpus_required and len(inventory.cpus) > 1:
        raise UsageError(
            f"--split none is one rank, and {len(inventory.cpus)} CPU ranks are asked for; "
            f"leave one of the two out."
        )
    if not isinstance(request.split, tuple):
        return
    stages, devices = len(request.split), inventory.orders[0]
    split = ",".join(map(str, request.split))
    if stages > len(devices):
        names = ", ".join(device.label for device in devices)
        count = "1 device" if len(devices) == 1 else f"{len(devices)} devices"
        more = len(inventory.cpus) + stages - len(devices)
        remedy = (
            f"; add --cpu-ranks {more} to put more ranks on the CPU"
            if inventory.cpus
            else "; give fewer stages"
        )
        raise UsageError(
            f"--split {split} has {stages} stages, more than the {count} that may be used "
            f"({names}){remedy}."
        )
    if inventory.cpus_required and stages < len(inventory.cpus):
        raise UsageError(
            f"--split {split} has {stages} stages, fewer than the {len(inventory.cpus)} CPU ranks "
            f"asked for."
        )
