"""``/proc/cpuinfo``: the processor's name and instruction sets.

x86 kernels write a model name and ``flags``; ARM kernels write numbers for who designed
the core, and ``Features``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from hetctl.probe.files import Files

_X86_ISA = (
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
)
_ARM_ISA = ("asimd", "asimddp", "bf16", "i8mm", "sve", "sve2")

# "CPU implementer" and "CPU part" (MIDR_EL1), as in the kernel's asm/cputype.h.
_ARM_CORES = {
    ("0x41", "0xd0c"): "ARM Neoverse-N1",
    ("0x41", "0xd40"): "ARM Neoverse-V1",
    ("0x41", "0xd49"): "ARM Neoverse-N2",
    ("0x41", "0xd4f"): "ARM Neoverse-V2",
    ("0x41", "0xd84"): "ARM Neoverse-V3",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a",
}
_ARM_VENDORS = {"0x41": "ARM", "0xc0": "Ampere", "0x61": "Apple", "0x51": "Qualcomm"}


@dataclass(frozen=True)
class Processor:
    """One record: one logical CPU that is online."""

    id: int
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def socket(self) -> int | None:
        return _integer(self.fields.get("physical id"))

    @property
    def core(self) -> int | None:
        return _integer(self.fields.get("core id"))

    @property
    def model(self) -> str:
        """The model name; empty where the kernel gives none."""
        name = self.fields.get("model name", "")
        if "CPU part" not in self.fields:
            return " ".join(name.split())
        implementer, part = self.fields.get("CPU implementer", ""), self.fields["CPU part"]
        return _ARM_CORES.get((implementer, part)) or name or f"ARM core {implementer}/{part}"

    @property
    def vendor(self) -> str:
        implementer = self.fields.get("CPU implementer", "")
        return self.fields.get("vendor_id") or _ARM_VENDORS.get(implementer, implementer)

    @property
    def flags(self) -> frozenset[str]:
        return frozenset((self.fields.get("flags") or self.fields.get("Features") or "").split())


def read_processors(files: Files) -> tuple[Processor, ...]:
    """The records of ``/proc/cpuinfo``; empty where it cannot be read."""
    processors = []
    for record in (files.text("/proc/cpuinfo") or "").split("\n\n"):
        pairs = (line.partition(":") for line in record.splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        number = _integer(fields.get("processor"))
        if number is not None:
            processors.append(Processor(number, fields))
    return tuple(processors)


def instruction_sets(flags: frozenset[str]) -> tuple[str, ...]:
    """Those flags that decide how fast a model runs, in the order of the documentation."""
    return tuple(name for name in (*_X86_ISA, *_ARM_ISA) if name in flags)


FlagSource = Callable[[], frozenset[str]]


def flags_from_py_cpuinfo() -> frozenset[str]:
    """Flags by CPUID, for a kernel that lists none.

    py-cpuinfo runs machine code in subprocesses and takes more than a second, so it is
    the last resort.
    """
    import cpuinfo

    return frozenset(cpuinfo.get_cpu_info().get("flags", ()))


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
