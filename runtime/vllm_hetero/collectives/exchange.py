"""A GPU's side of a small all-reduce between device classes: one kernel.

Copies by the copy engine and waiting on the host cost some 10 us each, which is more than the
transfer of what one decode step sums. The kernel (``exchange.cu``) reaches the slots in pinned
host memory itself. While it waits it occupies a few of the GPU's multiprocessors.
"""

from functools import cached_property
from pathlib import Path

import torch

from vllm_hetero.collectives.lane import SlotOnGpu
from vllm_hetero.cuda_driver import Kernels

_SOURCE = Path(__file__).with_name("exchange.cu")
_VECTOR_BYTES = 16
_THREADS = 512
_MAX_BLOCKS = 64
"""Enough for the bus, and few enough to leave room for kernels of other streams."""

_NAMES = {
    torch.float32: "all_reduce_float32",
    torch.bfloat16: "all_reduce_bfloat16",
    torch.float16: "all_reduce_float16",
}


class Exchange:
    """Launches the kernel on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        kernels = Kernels(_SOURCE, device)
        self._kernels = {dtype: kernels[name] for dtype, name in _NAMES.items()}

    @cached_property
    def _arrived(self) -> torch.Tensor:
        """Counts the kernel's blocks; zero between two launches."""
        return torch.zeros(2, dtype=torch.int32, device=self._device)

    def takes(self, tensor: torch.Tensor, slot_bytes: int) -> bool:
        """Whether the kernel can sum ``tensor``, which is contiguous."""
        return (
            0 < tensor.nbytes <= slot_bytes
            and tensor.nbytes % _VECTOR_BYTES == 0
            and tensor.data_ptr() % _VECTOR_BYTES == 0
            and tensor.dtype in self._kernels
        )

    def all_reduce(
        self,
        own: torch.Tensor,
        total: torch.Tensor,
        outgoing: SlotOnGpu | None,
        incoming: SlotOnGpu,
    ) -> None:
        """Queue ``total = own + the other class's part`` on the current stream.

        Args:
            own: This class's part; see :meth:`takes`.
            total: Like ``own``.
            outgoing: Where to publish ``own``; None where another rank of the class does.
            incoming: Where the other class's part will be.
        """
        vectors = own.nbytes // _VECTOR_BYTES
        self._kernels[own.dtype].launch(
            torch.cuda.current_stream(self._device).cuda_stream,
            min(-(-vectors // _THREADS), _MAX_BLOCKS),
            _THREADS,
            (
                own.data_ptr(),
                total.data_ptr(),
                vectors,
                outgoing.payload if outgoing else 0,
                outgoing.head if outgoing else 0,
                outgoing.count if outgoing else 0,
                incoming.payload,
                incoming.head,
                incoming.tail,
                incoming.count,
                self._arrived.data_ptr(),
            ),
        )
