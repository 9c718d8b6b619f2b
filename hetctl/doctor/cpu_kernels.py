"""vLLM's CPU kernels and the libraries that CPU ranks preload."""

import shutil
import sysconfig
from pathlib import Path

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, failed, passed, skipped, warned
from vllm_hetero import env, preload
from vllm_hetero.kernels import KernelsError, status

_COMPILERS = ("cc", "gcc", "clang")


def installed(surroundings: Surroundings) -> Outcome:
    """Present, whole, and the module that this CPU's instruction sets need among them."""
    try:
        found = status()
    except KernelsError as error:
        return failed(str(error), "Correct what the message names.")
    if found.problem:
        return failed(found.problem, "GPU ranks work without: plan with --cpu-ranks 0.")
    damaged = [f"{m.name} has the {m.state}" for m in found.modules if m.state.startswith("wrong")]
    if damaged:
        return failed(", ".join(damaged), "Run hetctl kernels install.")
    if not found.installed:
        return warned(
            f"none for vLLM {found.version} in {found.path}",
            "Run hetctl kernels install; the first plan with a CPU rank would do it, too.",
        )
    return passed(f"{found.required_module} for this CPU, every module with its hash")


def allocator(surroundings: Surroundings) -> Outcome:
    if broken := _missing_preloads(surroundings):
        return failed(f"LD_PRELOAD names {broken}, which does not exist", "Correct LD_PRELOAD.")
    path = next((one for one in preload.preload_libraries() if "tcmalloc" in one), None)
    if path is None:
        return warned(
            "not installed; vLLM recommends it where it computes on CPUs",
            "Install libtcmalloc-minimal4 (Debian, Ubuntu) or gperftools-libs (Fedora, RHEL).",
        )
    return passed(f"{path}, preloaded in CPU ranks")


def openmp(surroundings: Surroundings) -> Outcome:
    libraries = " ".join(preload.preload_libraries())
    if "iomp" in libraries:
        return passed("Intel's, preloaded in CPU ranks")
    if "gomp" in libraries or "libomp" in libraries:
        return warned(
            "only the one that torch carries; vLLM recommends Intel's on x86",
            "pip install intel-openmp (optional).",
        )
    return failed("none was found, not even torch's", "Install torch again: pip install torch.")


def compiler(surroundings: Surroundings) -> Outcome:
    wanted = surroundings.environment.get(env.CPU_COMPILE) == "1"
    if not surroundings.machine.gpus and not wanted:
        return skipped("only GPU ranks and compiled CPU ranks need one")
    path = surroundings.environment.get("PATH")
    given = surroundings.environment.get("CC")
    for name in (*((given,) if given else ()), *_COMPILERS):
        if found := shutil.which(name, path=path):
            return _with_headers(found)
    return failed(
        "no C compiler, which Triton needs at the first start",
        "Install gcc (build-essential on Debian and Ubuntu), or set CC.",
    )


def _with_headers(found: str) -> Outcome:
    """What Triton compiles is a module for Python."""
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if header.is_file():
        return passed(f"{found}, with Python's headers")
    return failed(
        f"{found}, but {header} is missing, which Triton includes",
        "Install Python's headers (python3-dev on Debian and Ubuntu, python3-devel on Fedora).",
    )


def _missing_preloads(surroundings: Surroundings) -> str | None:
    given = surroundings.environment.get("LD_PRELOAD", "").replace(" ", ":").split(":")
    return next((one for one in given if "/" in one and not Path(one).exists()), None)


_GROUP = "CPU ranks"
CHECKS = (
    Check(_GROUP, "kernels", installed, waits_for="the hashes of the CPU kernels", timeout_s=20),
    Check(_GROUP, "tcmalloc", allocator, waits_for="ldconfig"),
    Check(_GROUP, "OpenMP", openmp, waits_for="ldconfig"),
    Check(_GROUP, "C compiler", compiler),
)
