"""How a set of named tensors is laid out in records of a ring.

The first record of a message is a descriptor (names, dtypes, shapes, fixed size, no
pickling) and as much of the payload as fits; further records hold the rest. The payload is
the tensors one after the other, each aligned.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from vllm_hetero.hops.ring import ALIGNMENT, Ring, aligned

_DTYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.int8,
    torch.bool,
)
_MAX_TENSORS = 6
_MAX_DIMS = 4
_NAME_BYTES = 40
_COUNTS = struct.Struct("<qq")  # payload bytes of the message, tensors
_TENSOR = struct.Struct(f"<{_NAME_BYTES}sbb6x{_MAX_DIMS}q")
_PACKED_BYTES = _COUNTS.size + _MAX_TENSORS * _TENSOR.size
_KNOWN_LAYOUTS = 256
"""Layouts remembered: in decoding, they differ by the number of sequences only."""
DESCRIPTOR_BYTES = aligned(Ring.SIZE_BYTES + _PACKED_BYTES)
CONTINUATION_BYTES = ALIGNMENT
"""Header of each further record: its size, padded so that the payload is aligned."""


@dataclass(frozen=True)
class TensorLayout:
    """Where one tensor lies in a message's payload."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True)
class Layout:
    """All tensors of a message."""

    tensors: tuple[TensorLayout, ...]
    payload_bytes: int
    """With what aligns them."""
    tensor_bytes: int
    packed: bytes
    """The descriptor, as it is written."""


def layout_of(tensors: Mapping[str, Any]) -> Layout:
    """The layout of ``tensors``, in their order.

    Raises:
        ValueError: a value is no tensor, or there are more tensors, dimensions or name
            bytes than a descriptor holds.
    """
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"a hop carries plain tensors only, {name!r} is {tensor!r:.60}")
    return _layout(tuple([(name, t.dtype, t.shape) for name, t in tensors.items()]))


def tensor_bytes(tensors: Mapping[str, Any]) -> int:
    """What the tensors of a message hold."""
    return sum(value.nbytes for value in tensors.values() if isinstance(value, torch.Tensor))


def overlap(entry: TensorLayout, start: int, size: int) -> tuple[int, int]:
    """What of a tensor lies in bytes [start, start + size) of the payload.

    Returns:
        First byte, counted in the tensor, and length, which is at most 0 if nothing does.
    """
    first = max(entry.offset, start)
    return first - entry.offset, min(entry.offset + entry.size, start + size) - first


@lru_cache(maxsize=_KNOWN_LAYOUTS)
def _layout(tensors: tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]) -> Layout:
    if len(tensors) > _MAX_TENSORS:
        raise ValueError(f"a hop carries at most {_MAX_TENSORS} tensors, got {len(tensors)}")
    entries, offset = [], 0
    for name, dtype, shape in tensors:
        if dtype not in _DTYPES:
            raise ValueError(f"a hop carries plain tensors only, {name!r} is {dtype}")
        if len(shape) > _MAX_DIMS or len(name.encode()) > _NAME_BYTES:
            raise ValueError(f"a hop cannot carry {name!r} of shape {tuple(shape)}")
        size = math.prod(shape) * dtype.itemsize
        entries.append(TensorLayout(name, dtype, tuple(shape), offset, size))
        offset += aligned(size)
    size = sum(entry.size for entry in entries)
    return Layout(tuple(entries), offset, size, _packed(entries, offset))


def _packed(entries: list[TensorLayout], payload_bytes: int) -> bytes:
    packed = _COUNTS.pack(payload_bytes, len(entries))
    for entry in entries:
        shape = (*entry.shape, *[0] * (_MAX_DIMS - len(entry.shape)))
        code = _DTYPES.index(entry.dtype)
        packed += _TENSOR.pack(entry.name.encode(), code, len(entry.shape), *shape)
    return packed.ljust(_PACKED_BYTES, b"\0")


def write_descriptor(mapping: memoryview, offset: int, layout: Layout) -> None:
    """Write ``layout`` into the record at ``offset``."""
    at = offset + Ring.SIZE_BYTES
    mapping[at : at + _PACKED_BYTES] = layout.packed


def read_descriptor(mapping: memoryview, offset: int) -> Layout:
    """Read what :func:`write_descriptor` wrote."""
    at = offset + Ring.SIZE_BYTES
    return _unpacked(bytes(mapping[at : at + _PACKED_BYTES]))


@lru_cache(maxsize=_KNOWN_LAYOUTS)
def _unpacked(packed: bytes) -> Layout:
    _, count = _COUNTS.unpack_from(packed)
    tensors = []
    for i in range(count):
        name, code, dims, *shape = _TENSOR.unpack_from(packed, _COUNTS.size + i * _TENSOR.size)
        tensors.append((name.rstrip(b"\0").decode(), _DTYPES[code], tuple(shape[:dims])))
    return _layout(tuple(tensors))


def tensor_in(payload: torch.Tensor, entry: TensorLayout) -> torch.Tensor:
    """View one tensor of a message in its ``payload`` (uint8, one dimension)."""
    flat = payload[entry.offset : entry.offset + entry.size]
    return flat.view(entry.dtype).view(entry.shape)
