"""Shared host memory as a rank uses it: bytes for torch, pinned where the rank has a GPU."""

import ctypes
import mmap

import torch

from vllm_hetero import cuda_driver
from vllm_hetero.log import get_logger
from vllm_hetero.waiting import CPU_RANK, GPU_RANK

logger = get_logger(__name__)

_PR_SET_TIMERSLACK = 29


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
        self.view = memoryview(mapping)
        self.bytes = torch.frombuffer(mapping, dtype=torch.uint8)
        self.on_gpu = device.type == "cuda"
        self.patience = GPU_RANK if self.on_gpu else CPU_RANK
        if self.on_gpu:
            _sleep_precisely()
        pinned = self.on_gpu and _pin(self.bytes)
        self.gpu_address = cuda_driver.address_of_host(self.bytes.data_ptr()) if pinned else None

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

    def set_in_stream(self, value: int) -> None:
        """Set it once all work queued on the current stream so far is done."""
        if self._address is not None:
            stream = torch.cuda.current_stream(self._device).cuda_stream
            cuda_driver.write_in_stream(stream, self._address, value)
        else:
            self._value.fill_(value)
            self._host.copy_(self._value, non_blocking=True)


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
