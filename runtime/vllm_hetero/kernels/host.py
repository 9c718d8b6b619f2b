"""What the kernels ask of the machine: vLLM's version, the CPU's ISA and libnuma."""

import ctypes
import platform
from importlib import metadata
from pathlib import Path

from vllm_hetero.kernels.errors import KernelsError

MODULES = ("_C", "_C_AVX512", "_C_AVX2")

_CPUINFO = Path("/proc/cpuinfo")


def file_name(module: str) -> str:
    """``_C.abi3.so`` for ``_C``."""
    return f"{module}.abi3.so"


def machine() -> str:
    """The machine's architecture as Linux names it: ``x86_64``, ``aarch64``."""
    return platform.machine()


def vllm_version() -> str:
    """The installed vLLM's version, without a local part such as ``+cu129``.

    Raises:
        KernelsError: vLLM is not installed.
    """
    try:
        return metadata.version("vllm").partition("+")[0]
    except metadata.PackageNotFoundError as error:
        raise KernelsError(
            "vLLM is not installed in this environment, so its CPU kernels have no version; "
            "install vllm first."
        ) from error


def cpu_flags() -> frozenset[str]:
    """The first CPU's flags in ``/proc/cpuinfo``; empty when they cannot be read."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def required_module() -> str:
    """The module that vLLM's CPU platform imports on this CPU.

    The choice is that of ``CpuPlatform.import_kernels`` in vLLM.

    Raises:
        KernelsError: no module runs on this CPU; the message names what it lacks.
    """
    if machine() != "x86_64":
        raise KernelsError(
            f"This machine is {machine()}, but CPU ranks need x86_64: "
            "use GPU ranks only on this machine."
        )
    flags = cpu_flags()
    if "avx512f" in flags:
        return "_C" if "avx512_bf16" in flags else "_C_AVX512"
    if "avx2" in flags:
        return "_C_AVX2"
    raise KernelsError(
        "This CPU cannot run vLLM's CPU kernels (missing CPU ISA: avx2): use GPU ranks only."
    )


def check_libraries() -> None:
    """Check the one system library that the modules link and that may be absent.

    Without this, vLLM logs a warning and fails much later on a missing operator.

    Raises:
        KernelsError: libnuma is not installed.
    """
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError as error:
        raise KernelsError(
            "vLLM's CPU kernels need libnuma.so.1, which this machine lacks: install it "
            "(libnuma1 on Debian and Ubuntu, numactl-libs on Fedora and RHEL)."
        ) from error
