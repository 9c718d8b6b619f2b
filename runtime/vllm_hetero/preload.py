"""Libraries that a CPU rank preloads: an allocator and one OpenMP runtime.

tcmalloc spares the CPU kernels glibc malloc's locks. Of OpenMP there must be one: torch
brings libgomp under a private name, and only a preloaded one honours thread pinning
(vLLM issue 27369). Intel's is preferred where it is installed, as vLLM documents.
"""

import os
import sys
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path


def preload_libraries() -> list[str]:
    """Absolute paths for ``LD_PRELOAD``, what the user set first."""
    given = [entry for entry in os.environ.get("LD_PRELOAD", "").split(":") if entry]
    libraries = list(given)
    if not any("tcmalloc" in entry for entry in given) and (found := tcmalloc()):
        libraries.append(found)
    if not any(name in entry for entry in given for name in ("iomp", "gomp", "libomp")):
        openmp = intel_openmp() or torch_openmp()
        if openmp:
            libraries.append(openmp)
    return libraries


def missing_libraries() -> str | None:
    """One sentence on what a CPU rank would be faster with, or None if nothing is missing."""
    libraries = " ".join(preload_libraries())
    missing = []
    if "tcmalloc" not in libraries:
        missing.append("tcmalloc (install libtcmalloc-minimal4 on Debian, gperftools on Fedora)")
    if "iomp" not in libraries:
        missing.append("Intel OpenMP (pip install intel-openmp)")
    if not missing:
        return None
    return f"CPU ranks start without {' and '.join(missing)}; both are optional and preloaded."


def tcmalloc() -> str | None:
    """The system's tcmalloc (Debian: libtcmalloc-minimal4), if installed."""
    return _system_library("tcmalloc_minimal") or _system_library("tcmalloc")


def intel_openmp() -> str | None:
    """libiomp5 of the ``intel-openmp`` package, if installed in this environment."""
    path = Path(sys.prefix) / "lib" / "libiomp5.so"
    return str(path) if path.exists() else None


def torch_openmp() -> str | None:
    """The libgomp that the torch wheel carries."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    for folder in (package.parent / "torch.libs", package / "lib"):
        for library in sorted(folder.glob("libgomp*.so*")):
            return str(library)
    return None


def _system_library(name: str) -> str | None:
    soname = find_library(name)
    if soname is None:
        return None
    for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"):
        path = Path(folder) / soname
        if path.exists():
            return str(path)
    return None
