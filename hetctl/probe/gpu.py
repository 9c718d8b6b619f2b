"""GPUs: what the driver's library tells, what ``/sys`` adds, and what CUDA will see."""

from collections.abc import Mapping
from typing import Protocol

from hetctl.document import Frozen
from hetctl.machine import Gpu
from hetctl.probe.cpu_list import format_cpu_list
from hetctl.probe.files import Files
from hetctl.probe.visible_devices import select_visible


class GpuLibraryError(Exception):
    """The driver's library cannot be asked; the message is one sentence for the user."""


class GpuInventory(Frozen):
    """What the driver's library tells of a machine. Recordings of it replay machines."""

    gpus: tuple[Gpu, ...] = ()
    driver_version: str = ""
    cuda_driver_version: str = ""
    notes: tuple[str, ...] = ()


class GpuLibrary(Protocol):
    """Asks the driver about its devices."""

    def read(self) -> GpuInventory:
        """All devices, with None for what a device does not support.

        Raises:
            GpuLibraryError: there is no driver, or it does not work.
        """
        ...


def read_inventory(library: GpuLibrary, files: Files, notes: list[str]) -> GpuInventory:
    """All GPUs of the machine; none, and a note, where the library fails."""
    try:
        inventory = library.read()
    except GpuLibraryError as error:
        notes.append(str(error))
        return GpuInventory()
    notes.extend(inventory.notes)
    gpus = tuple(
        gpu.model_copy(update={"numa_node": _numa_node(files, gpu)}) for gpu in inventory.gpus
    )
    return inventory.model_copy(update={"gpus": gpus})


def visible_gpus(
    gpus: tuple[Gpu, ...],
    numa_nodes: tuple[int, ...],
    environment: Mapping[str, str],
    notes: list[str],
) -> tuple[Gpu, ...]:
    """The GPUs that CUDA programs started from here can use, in CUDA's order.

    Args:
        numa_nodes: The host's nodes; on a machine with one, every GPU belongs to it.
        environment: Read for ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER``.
        notes: Collects a sentence for what could not be found out.
    """
    if len(numa_nodes) == 1:
        gpus = tuple(gpu.model_copy(update={"numa_node": numa_nodes[0]}) for gpu in gpus)
    gpus = select_visible(gpus, environment, notes)
    shown = {gpu.index for gpu in gpus}
    gpus = tuple(
        gpu.model_copy(update={"nvlink_peers": tuple(p for p in gpu.nvlink_peers if p in shown)})
        for gpu in gpus
    )
    _note_unknown(gpus, notes)
    return gpus


def _numa_node(files: Files, gpu: Gpu) -> int | None:
    """The node by ``/sys``, which is -1 where firmware does not tell, else by the driver."""
    node = files.integer(f"/sys/bus/pci/devices/{gpu.pci_bus_id}/numa_node")
    return node if node is not None and node >= 0 else gpu.numa_node


def _note_unknown(gpus: tuple[Gpu, ...], notes: list[str]) -> None:
    questions = {
        "the PCI Express link": [
            # A GPU that shares an address space with its CPU is not reached over PCIe.
            gpu
            for gpu in gpus
            if gpu.pcie is None and gpu.memory_numa_node is None
        ],
        "the NUMA node": [gpu for gpu in gpus if gpu.numa_node is None],
        "the compute capability": [gpu for gpu in gpus if gpu.compute_capability is None],
    }
    for what, unknown in questions.items():
        if unknown:
            which = format_cpu_list(gpu.index for gpu in unknown)
            notes.append(f"Neither the driver nor the kernel tells {what} of GPU {which}.")
