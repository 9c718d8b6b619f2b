"""What a figure of a machine can be at most and at least, by its unit and by what it is of.

A figure beyond these bounds is an error of whoever wrote it: they lie an order of magnitude beyond
anything that is sold or has been measured.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import ValidationInfo, field_validator

from hetctl.document import Frozen, Quantity

Part = Literal["gpu", "node"]


class RatedPart(Frozen):
    """A part of a machine, whose figures must be possible."""

    PART: ClassVar[Part]

    @field_validator("*")
    @classmethod
    def _can_be(cls, value: Any, info: ValidationInfo) -> Any:
        require_possible(cls.PART, str(info.field_name), value)
        return value


@dataclass(frozen=True, slots=True)
class Bound:
    """From ``low`` to ``high`` of a ``unit``, and what says so."""

    low: float
    high: float
    unit: str
    why: str


# Weights that 2,000 rows share are read at 1.3 GB/s by a stage of an 8B model on 16 cores, and at
# 0.1 GB/s by a GEMM on two (docs/results).
_SLOWEST = 1e6

_HOST_MEMORY = Bound(
    _SLOWEST, 1e13, "B/s", "12 channels of DDR5-8800 read 8e11, the HBM2e of a Xeon Max 1.6e12"
)
_MEMORY = Bound(
    _SLOWEST, 1e14, "B/s", "the HBM3e of a B200 reads 8e12, the last caches of a CPU about as much"
)
_LINK = Bound(_SLOWEST, 2e12, "B/s", "PCIe 5.0 x16 moves 6.4e10 each way, NVLink-C2C 4.5e11")
_PEER = Bound(_SLOWEST, 1e13, "B/s", "NVLink 5 moves 9e11 each way")
_MATRIX: dict[Part, Bound] = {
    "gpu": Bound(1e8, 1e17, "FLOP/s", "a B200 does 2.3e15 in bf16"),
    "node": Bound(1e8, 1e16, "FLOP/s", "128 cores with AMX at 2 GHz do 5e14 in bf16"),
}
_TIME = Bound(1e-7, 10.0, "s", "the cheapest launch, copy or signal takes some microseconds")
_TIME_BY_BYTES = Bound(1e-7, 1000.0, "s", "64 MiB take 0.1 s between two busy cores")

_LINKS = ("host_to_device", "device_to_host", "uva_read", "hop")


def bound_of(part: Part, field: str) -> Bound | None:
    """The bound of a part's figure; None for a field that is no figure."""
    name, by_bytes = field.removesuffix("_by_bytes"), field.endswith("_by_bytes")
    for suffix in ("_by_rows", "_by_sequences", "_by_node"):
        name = name.removesuffix(suffix)
    if name.endswith("_bytes_per_s"):
        if name.startswith(_LINKS):
            return _LINK
        if name.startswith("device_to_device"):
            return _PEER
        return _HOST_MEMORY if part == "node" and name.startswith("memory_read") else _MEMORY
    if name.endswith("_flops"):
        return _MATRIX[part]
    if name.endswith("_s"):
        return _TIME_BY_BYTES if by_bytes else _TIME
    return None


def require_possible(part: Part, field: str, value: object) -> None:
    """Raise where a figure, or one of a table's, cannot be.

    Raises:
        ValueError: saying which, its bound and where that is from.
    """
    quantities = list(value.values()) if isinstance(value, dict) else [value]
    bound = bound_of(part, field)
    for quantity in quantities:
        if bound is None or not isinstance(quantity, Quantity):
            continue
        for where, number, *_ in quantity.each():
            if not bound.low <= number <= bound.high:
                beyond = "more" if number > bound.high else "less"
                raise ValueError(
                    f"{number:g} {bound.unit}{where} is {beyond} than can be ({bound.low:g} to "
                    f"{bound.high:g}; {bound.why})"
                )
