"""Shared host memory as a rank uses it: bytes for torch, pinned where the rank has a GPU."""

import ctypes
import math
import mmap

import torch

from vllm_hetero import cuda_driver
from vllm_hetero.log import get_logger
from vllm_hetero.waiting import CPU_RANK, GPU_RANK

logger = get_logger(__name__)

_PR_SET_TIMERSLACK = 29
_ONE_THREAD_BYTES = 64 << 10
"""Up to here one thread copies faster than torch gets several to work."""


class HostMemory:
    """A mapping that this rank shares with others.

    Attributes:
        view: The mapping, for the CPU.
        bytes: The mapping, as a tensor (bytes,) of uint8.
        patience: How this rank waits for a word of it to change.
        gpu_address: Where the GPU finds the mapping, or None where it is not pinned.
    """

    def __init__(self, mapping: mmap.mmap, device: torch.device) -> None:
        self.device = device
        self._mapping = mapping
        self.view = memoryview(mapping)
        self.bytes = torch.frombuffer(mapping, dtype=torch.uint8)
        self._address = self.bytes.data_ptr()
        self.on_gpu = device.type == "cuda"
        self.patience = GPU_RANK if self.on_gpu else CPU_RANK
        if self.on_gpu:
            _sleep_precisely()
        pinned = self.on_gpu and _pin(self.bytes)
        self.gpu_address = cuda_driver.address_of_host(self._address) if pinned else None

    def tensor(self, at: int, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
        """What lies ``at`` bytes into the mapping, in place."""
        count = math.prod(shape)
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        return torch.frombuffer(self._mapping, dtype=dtype, count=count, offset=at).view(shape)

    def write(self, at: int, source: torch.Tensor, first: int, size: int, stream: int) -> None:
        """Copy ``size`` bytes of ``source``, from its byte ``first`` on, into the mapping.

        Torch's own copies between slices cost several times what a decode step's copies take.

        Args:
            at: Where to, in the mapping.
            source: A contiguous tensor on this rank's device.
            first: Where from.
            size: How much.
            stream: On a GPU rank, the stream in whose order the copy is made.
        """
        if self.on_gpu:
            cuda_driver.copy_to_host(stream, self._address + at, source.data_ptr() + first, size)
        elif size <= _ONE_THREAD_BYTES:
            ctypes.memmove(self._address + at, source.data_ptr() + first, size)
        else:
            self.bytes[at : at + size].copy_(_bytes_of(source)[first : first + size])

    def read(self, at: int, target: torch.Tensor, first: int, size: int, stream: int) -> None:
        """The other way round: from the mapping into ``target``; arguments of :meth:`write`."""
        if self.on_gpu:
            cuda_driver.copy_to_gpu(stream, target.data_ptr() + first, self._address + at, size)
        else:
            _bytes_of(target)[first : first + size].copy_(self.bytes[at : at + size])

    def close(self) -> None:
        """Undo the pinning, after all copies are done."""
        if self.gpu_address is not None:
            torch.cuda.synchronize(self.device)
            torch.cuda.cudart().cudaHostUnregister(self.bytes.data_ptr())
            self.gpu_address = None


class StreamWord:
    """A 64-bit counter in shared memory that a GPU rank sets in stream order.

    The GPU's front end writes it, without a kernel or a copy, where the driver can
    (``cuStreamWriteValue64``; every Linux driver since CUDA 12). Elsewhere, and where the
    memory is not pinned, it goes by way of a word in device memory, which the next call
    overwrites: use one per counter, from one stream at a time.
    """

    def __init__(self, memory: HostMemory, offset: int) -> None:
        self._device = memory.device
        self._address: int | None = None
        if memory.gpu_address is not None and cuda_driver.can_write_in_stream(memory.device):
            self._address = memory.gpu_address + offset
        else:
            self._host = memory.bytes[offset : offset + 8].view(torch.int64)
            self._value = torch.zeros(1, dtype=torch.int64, device=memory.device)

    def set_in_stream(self, value: int, stream: int | None = None) -> None:
        """Set it once all work queued so far on ``stream``, or the current one, is done."""
        if stream is None:
            stream = torch.cuda.current_stream(self._device).cuda_stream
        if self._address is not None:
            cuda_driver.write_in_stream(stream, self._address, value)
        else:
            with torch.cuda.stream(torch.cuda.ExternalStream(stream, self._device)):
                self._value.fill_(value)
                self._host.copy_(self._value, non_blocking=True)


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(-1).view(torch.uint8)


def _sleep_precisely() -> None:
    """Let this thread's short sleeps end on time: the kernel may add 50 us by default."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)


def _pin(mapping: torch.Tensor) -> bool:
    """Page-lock the mapping, so that the copy engine can reach it without staging."""
    result = torch.cuda.cudart().cudaHostRegister(mapping.data_ptr(), len(mapping), 0)
    if int(result) == 0:
        return True
    logger.warning(
        "Cannot pin %d MiB of shared memory (CUDA error %d; see ulimit -l); copies between "
        "GPU and CPU ranks will be slower.",
        len(mapping) >> 20,
        int(result),
    )
    return False
