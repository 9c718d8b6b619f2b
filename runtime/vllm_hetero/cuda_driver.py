"""What ranks with a GPU ask of CUDA's driver directly, because torch has no call for it.

Each call but :func:`can_write_in_stream` raises RuntimeError, with CUDA's name of the error,
when the driver refuses. ``cuda-bindings`` is a requirement of torch's builds for CUDA.
"""

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch


@cache
def _driver() -> Any:
    # Loading it takes time and needs a build of torch for CUDA: not for CPU ranks.
    from cuda.bindings import driver

    return driver


def address_of_host(address: int) -> int:
    """Where the GPU finds pinned host memory that begins at ``address``."""
    return int(_checked(_driver().cuMemHostGetDevicePointer(address, 0)))


@cache
def can_write_in_stream(device: torch.device) -> bool:
    """Whether :func:`write_in_stream` works on ``device``."""
    attribute = _driver().CUdevice_attribute.CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS
    index = torch.cuda.current_device() if device.index is None else device.index
    return bool(_checked(_driver().cuDeviceGetAttribute(attribute, index)))


def write_in_stream(stream: int, address: int, value: int) -> None:
    """Write 64 bits to ``address`` (of the GPU) once all earlier work of ``stream`` is done."""
    _checked(_driver().cuStreamWriteValue64(stream, address, value, 0))


def copy_to_host(stream: int, host: int, device: int, size: int) -> None:
    """Queue a copy of ``size`` bytes from GPU memory to pinned memory."""
    _checked(_driver().cuMemcpyDtoHAsync(host, device, size, stream))


def copy_to_gpu(stream: int, device: int, host: int, size: int) -> None:
    """Queue a copy of ``size`` bytes from pinned memory to GPU memory."""
    _checked(_driver().cuMemcpyHtoDAsync(device, host, size, stream))


class Kernels:
    """CUDA kernels compiled for one device, when they are first wanted.

    Args:
        source: A file in CUDA C++ whose kernels are ``extern "C"``.
        device: Where they run.
    """

    def __init__(self, source: Path, device: torch.device) -> None:
        major, minor = torch.cuda.get_device_capability(device)
        cubin = compiled(source, f"sm_{major}{minor}")
        # The module goes into the device's context, which torch makes when it first needs it.
        torch.cuda.synchronize(device)
        self._module = _checked(_driver().cuModuleLoadData(cubin))

    def __getitem__(self, name: str) -> "Kernel":
        return Kernel(_checked(_driver().cuModuleGetFunction(self._module, name.encode())))


class Kernel:
    """One kernel. Its parameters are all 64 bits wide: addresses and counts."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def launch(self, stream: int, blocks: int, threads: int, parameters: Sequence[int]) -> None:
        """Queue the kernel on ``stream``."""
        values = (ctypes.c_uint64 * len(parameters))(*parameters)
        first = ctypes.addressof(values)
        pointers = (ctypes.c_void_p * len(parameters))(
            *range(first, first + 8 * len(parameters), 8)
        )
        grid, block, shared_bytes = (blocks, 1, 1), (threads, 1, 1), 0
        arguments = ctypes.addressof(pointers)
        _checked(
            _driver().cuLaunchKernel(
                self._function, *grid, *block, shared_bytes, stream, arguments, 0
            )
        )


def compiled(source: Path, architecture: str) -> bytes:
    """``source`` compiled for ``architecture`` (``sm_90``); needs no GPU.

    Raises:
        RuntimeError: it does not compile; the message has the compiler's words.
    """
    from cuda.bindings import nvrtc

    program = _checked(
        nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [], [])
    )
    options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
    status = nvrtc.nvrtcCompileProgram(program, len(options), options)[0]
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        said = b" " * _checked(nvrtc.nvrtcGetProgramLogSize(program))
        _checked(nvrtc.nvrtcGetProgramLog(program, said))
        raise RuntimeError(f"{source.name} does not compile: {said.decode().strip()}")
    cubin = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, cubin))
    _checked(nvrtc.nvrtcDestroyProgram(program))
    return cubin


def _checked(result: tuple[Any, ...]) -> Any:
    """The value of a call of cuda-bindings, which returns its status first."""
    status, *values = result
    if int(status):
        raise RuntimeError(f"CUDA refuses: {status.name}")
    return values[0] if values else None
