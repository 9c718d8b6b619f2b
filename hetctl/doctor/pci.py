"""What stands between GPUs on the PCI bus: the IOMMU, and bridges' access control (ACS)."""

import struct
from itertools import combinations

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, passed, skipped, warned
from hetctl.machine import Machine
from hetctl.probe.files import Files

_DEVICES = "/sys/bus/pci/devices"
_BRIDGE_CLASS = "0x0604"
_FIRST_CAPABILITY = 0x100
_ACS_CAPABILITY = 0x0D
_ACS_CONTROL = 6
# Source validation, request and completion redirect, upstream forwarding: with any of them,
# traffic between two GPUs goes up to the root complex.
_ACS_REDIRECTS = 0x01 | 0x04 | 0x08 | 0x10
_ONE_GPU = "it matters between GPUs only"


def iommu(surroundings: Surroundings) -> Outcome:
    """Translation costs transfers between GPUs their direct way, and at worst their data."""
    files, machine = surroundings.files, surroundings.machine
    groups = files.names("/sys/kernel/iommu_groups")
    if not groups:
        return passed("off, or not visible")
    kinds = {
        files.text(f"{_DEVICES}/{gpu.pci_bus_id}/iommu_group/type") for gpu in machine.gpus
    } - {None}
    if not kinds or kinds == {"identity"}:
        return passed("on, GPUs pass through" if kinds else "on; no GPU is behind it")
    if len(machine.gpus) < 2 or _all_by_nvlink(machine):
        return passed("on and translating; no traffic between GPUs goes over PCIe")
    return warned(
        "on and translating, between GPUs without NVLink",
        "Boot with iommu=pt (a virtual machine: on its host), and run p2pBandwidthLatencyTest.",
    )


def access_control(surroundings: Surroundings) -> Outcome:
    machine = surroundings.machine
    if len(machine.gpus) < 2 or _all_by_nvlink(machine):
        return skipped(_ONE_GPU if len(machine.gpus) < 2 else "the GPUs are joined by NVLink")
    redirecting, readable, bridges = 0, 0, 0
    for space in _bridges(surroundings.files):
        bridges += 1
        control = acs_control(space)
        readable += len(space) > _FIRST_CAPABILITY
        redirecting += bool((control or 0) & _ACS_REDIRECTS)
    if bridges > readable:
        return skipped("only root may read the bridges' settings; see lspci -vvv | grep ACSCtl")
    if redirecting:
        return warned(
            f"{redirecting} of {bridges} PCI bridges redirect traffic between GPUs to the CPU",
            "Turn ACS off in the firmware or with setpci, as NCCL's troubleshooting page shows.",
        )
    return passed(f"off on all of {bridges} PCI bridges")


def acs_control(space: bytes) -> int | None:
    """The ACS control word in a PCI configuration space, None where there is none.

    Extended capabilities are a list from offset 0x100: id (16 bits), version (4), next (12).
    """
    offset = _FIRST_CAPABILITY
    seen: set[int] = set()
    while _FIRST_CAPABILITY <= offset <= len(space) - 8 and offset not in seen:
        seen.add(offset)
        (header,) = struct.unpack_from("<I", space, offset)
        if header & 0xFFFF == _ACS_CAPABILITY:
            (control,) = struct.unpack_from("<H", space, offset + _ACS_CONTROL)
            return int(control)
        offset = header >> 20
    return None


def _bridges(files: Files) -> list[bytes]:
    """Configuration spaces; without root the kernel shows the first 64 bytes."""
    return [
        files.binary(f"{_DEVICES}/{name}/config") or b""
        for name in files.names(_DEVICES)
        if (files.text(f"{_DEVICES}/{name}/class") or "").startswith(_BRIDGE_CLASS)
    ]


def _all_by_nvlink(machine: Machine) -> bool:
    return len(machine.gpus) > 1 and all(
        b.index in a.nvlink_peers for a, b in combinations(machine.gpus, 2)
    )


_GROUP = "PCI"
CHECKS = (
    Check(_GROUP, "IOMMU", iommu),
    Check(_GROUP, "ACS", access_control),
)
