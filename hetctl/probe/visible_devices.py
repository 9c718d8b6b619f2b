"""``CUDA_VISIBLE_DEVICES``: which GPUs CUDA shows to this process.

Follows the CUDA programming guide: entries are indices or unique beginnings of UUIDs;
CUDA shows the devices in the order of the list and stops at the first entry that names
none. An empty list shows none. A GPU in MIG mode is seen as one of its instances.
"""

from collections.abc import Mapping

from hetctl.machine import Gpu, MigInstance
from hetctl.units import format_bytes

VARIABLE = "CUDA_VISIBLE_DEVICES"


def select_visible(
    gpus: tuple[Gpu, ...], environment: Mapping[str, str], notes: list[str]
) -> tuple[Gpu, ...]:
    """The visible ones of all ``gpus``, each in MIG mode with its instance's memory."""
    wanted = environment.get(VARIABLE)
    if wanted is None or not gpus:
        return _with_first_instances(gpus, notes)
    visible: dict[int, Gpu] = {}
    entries = [entry.strip() for entry in wanted.split(",")] if wanted.strip() else []
    for entry in entries:
        gpu = _named(gpus, entry)
        if gpu is None:
            if entry != "-1":
                notes.append(
                    f"{VARIABLE} names {entry!r}, which is no GPU of this machine; CUDA ignores "
                    "that entry and all after it."
                )
            break
        visible.setdefault(gpu.index, gpu)
    if hidden := len(gpus) - len(visible):
        what = f"hides {hidden} of {len(gpus)} GPUs" if visible else "hides every GPU"
        notes.append(f"{VARIABLE}={wanted!r} {what}.")
    if any(entry.isdecimal() for entry in entries):
        _note_order(gpus, environment, notes)
    return _with_first_instances(tuple(visible.values()), notes)


def _named(gpus: tuple[Gpu, ...], entry: str) -> Gpu | None:
    """The GPU that one entry names, or that has the MIG instance which it names."""
    if entry.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(entry)), None)
    if entry.startswith("MIG-"):
        for gpu in gpus:
            for instance in gpu.mig_instances:
                if instance.uuid.startswith(entry):
                    return _as_instance(gpu, instance)
        return None
    matches = [gpu for gpu in gpus if entry.startswith("GPU-") and gpu.uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None


def _with_first_instances(gpus: tuple[Gpu, ...], notes: list[str]) -> tuple[Gpu, ...]:
    """Unless one was named, CUDA shows the first instance of a GPU in MIG mode."""
    usable = []
    for gpu in gpus:
        if not gpu.mig_enabled:
            usable.append(gpu)
        elif not gpu.mig_instances:
            notes.append(
                f"GPU {gpu.index} is in MIG mode without an instance, so CUDA cannot use it; "
                "create one with nvidia-smi mig, or turn MIG off."
            )
        else:
            shown = _as_instance(gpu, gpu.mig_instances[0])
            notes.append(
                f"GPU {gpu.index} is in MIG mode: its memory here is that of the instance "
                f"which CUDA shows, {format_bytes(shown.memory_total_bytes)}."
            )
            usable.append(shown)
    return tuple(usable)


def _as_instance(gpu: Gpu, instance: MigInstance) -> Gpu:
    """The GPU with one instance's memory, and that instance alone."""
    return gpu.model_copy(
        update={
            "mig_instances": (instance,),
            "memory_total_bytes": instance.memory_total_bytes,
            "memory_free_bytes": instance.memory_free_bytes,
        }
    )


def _note_order(gpus: tuple[Gpu, ...], environment: Mapping[str, str], notes: list[str]) -> None:
    """CUDA numbers the fastest GPU first unless told to number as NVML does."""
    mixed = len({gpu.name for gpu in gpus}) > 1
    if mixed and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        notes.append(
            f"The GPUs differ and CUDA_DEVICE_ORDER is not PCI_BUS_ID, so the numbers in "
            f"{VARIABLE} may mean other GPUs to CUDA than they do here."
        )
