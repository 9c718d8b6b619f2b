"""How a set of named tensors is laid out in records of a ring.

The first record of a message is a descriptor (names, dtypes, shapes, fixed size, no
pickling) and as much of the payload as fits; further records hold the rest. The payload is
the tensors one after the other, each aligned.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
DESCRIPTOR_BYTES = aligned(Ring.SIZE_BYTES + _COUNTS.size + _MAX_TENSORS * _TENSOR.size)
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


def layout_of(tensors: Mapping[str, Any]) -> Layout:
    """The layout of ``tensors``, in their order.

    Raises:
        ValueError: a value is no tensor, or there are more tensors, dimensions or name
            bytes than a descriptor holds.
    """
    if len(tensors) > _MAX_TENSORS:
        raise ValueError(f"a hop carries at most {_MAX_TENSORS} tensors, got {len(tensors)}")
    entries, offset = [], 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _DTYPES:
            raise ValueError(f"a hop carries plain tensors only, {name!r} is {tensor!r:.60}")
        if tensor.dim() > _MAX_DIMS or len(name.encode()) > _NAME_BYTES:
            raise ValueError(f"a hop cannot carry {name!r} of shape {tuple(tensor.shape)}")
        size = tensor.numel() * tensor.element_size()
        entries.append(TensorLayout(name, tensor.dtype, tuple(tensor.shape), offset, size))
        offset += aligned(size)
    return Layout(tuple(entries), offset)


def write_descriptor(mapping: memoryview, offset: int, layout: Layout) -> None:
    """Write ``layout`` into the record at ``offset``."""
    at = offset + Ring.SIZE_BYTES
    _COUNTS.pack_into(mapping, at, layout.payload_bytes, len(layout.tensors))
    at += _COUNTS.size
    for entry in layout.tensors:
        shape = (*entry.shape, *[0] * (_MAX_DIMS - len(entry.shape)))
        code = _DTYPES.index(entry.dtype)
        _TENSOR.pack_into(mapping, at, entry.name.encode(), code, len(entry.shape), *shape)
        at += _TENSOR.size


def read_descriptor(mapping: memoryview, offset: int) -> Layout:
    """Read what :func:`write_descriptor` wrote."""
    at = offset + Ring.SIZE_BYTES
    payload_bytes, count = _COUNTS.unpack_from(mapping, at)
    at += _COUNTS.size
    entries, start = [], 0
    for _ in range(count):
        name, code, dims, *shape = _TENSOR.unpack_from(mapping, at)
        dtype, shape = _DTYPES[code], tuple(shape[:dims])
        size = _count(shape) * dtype.itemsize
        entries.append(TensorLayout(name.rstrip(b"\0").decode(), dtype, shape, start, size))
        start += aligned(size)
        at += _TENSOR.size
    return Layout(tuple(entries), payload_bytes)


def _count(shape: Sequence[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def tensor_in(payload: torch.Tensor, entry: TensorLayout) -> torch.Tensor:
    """View one tensor of a message in its ``payload`` (uint8, one dimension)."""
    flat = payload[entry.offset : entry.offset + entry.size]
    return flat.view(entry.dtype).view(entry.shape)
