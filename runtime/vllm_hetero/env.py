"""Every environment variable that this package reads or sets.

=============================== ====================================================
variable                        meaning
=============================== ====================================================
VLLM_HETEROGENEOUS_PLATFORM     ``1``: run GPU and CPU ranks in one engine
VLLM_HETERO_RANK_MAP            the rank map, as JSON or ``@FILE``; implies the above
VLLM_HETERO_CPU_KV_CACHE_BYTES  KV-cache budget of a CPU rank whose map entry has none
VLLM_HETERO_CPU_COMPILE         ``1``: torch.compile on CPU ranks, as vLLM does on its CPU
                                platform; a C++ compiler must be installed
VLLM_HETERO_CPU_LINEAR          linear kernel of CPU ranks: ``auto`` (default: measured at
                                load, by the number of rows), ``onednn``, ``packed``,
                                ``both`` (two copies of the weights) or ``torch``
VLLM_HETERO_HOP                 ``shm`` (default) or ``gloo``: how stages pass activations
VLLM_HETERO_STALL_TIMEOUT_S     longest time of one step of the model in seconds, or 0 for no
                                limit; default ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS`` (300)
VLLM_HETERO_START_TIMEOUT_S     longest time of one step of a rank's start, loading weights
                                apart, and of any other call; 0 for no limit, default 600
VLLM_HETERO_SCHEDULER           ``hetero`` (default) or ``vllm``: who fills batches
VLLM_HETERO_MAX_STALL_S         longest time in seconds that a prompt's chunk keeps running
                                requests from their next token; default 0.5, 0: no limit
VLLM_HETERO_STAGE_TIMES         ``1``: ranks remember how long each step's layers take
VLLM_HETERO_MEMORY_REPORT       file to write each rank's memory to, as JSON, once all ranks are
                                ready; works without CPU ranks, too
VLLM_HETERO_ANY_VLLM            ``1``: accept a vLLM version that was not tested
VLLM_HETERO_CACHE               folder for CPU kernels instead of ``~/.cache``
VLLM_HETERO_KERNELS_DIR         folder of CPU kernels to use as it is
VLLM_HETERO_KERNELS_WHEEL       vLLM CPU wheel to take them from, for offline machines
VLLM_HETERO_ROLE                set for each rank at spawn: ``gpu`` or ``cpu``
VLLM_HETERO_RUN_DIR             set for each rank: folder for its last words
VLLM_HETERO_METRICS_DIR         set for the engine: folder in which its ranks count what they do
=============================== ====================================================

The answers are cached: a process's role is fixed before Python starts in it, and code
that TorchDynamo traces must not read the environment.
"""

import math
import os
from functools import cache
from pathlib import Path
from typing import Literal

Role = Literal["engine", "gpu", "cpu"]

PLATFORM = "VLLM_HETEROGENEOUS_PLATFORM"
RANK_MAP = "VLLM_HETERO_RANK_MAP"
CPU_KV_CACHE_BYTES = "VLLM_HETERO_CPU_KV_CACHE_BYTES"
CPU_COMPILE = "VLLM_HETERO_CPU_COMPILE"
CPU_LINEAR = "VLLM_HETERO_CPU_LINEAR"
HOP = "VLLM_HETERO_HOP"
HOPS = ("shm", "gloo")
STALL_TIMEOUT_S = "VLLM_HETERO_STALL_TIMEOUT_S"
START_TIMEOUT_S = "VLLM_HETERO_START_TIMEOUT_S"
SCHEDULER = "VLLM_HETERO_SCHEDULER"
MAX_STALL_S = "VLLM_HETERO_MAX_STALL_S"
STAGE_TIMES = "VLLM_HETERO_STAGE_TIMES"
MEMORY_REPORT = "VLLM_HETERO_MEMORY_REPORT"
ANY_VLLM = "VLLM_HETERO_ANY_VLLM"
CACHE = "VLLM_HETERO_CACHE"
KERNELS_DIR = "VLLM_HETERO_KERNELS_DIR"
KERNELS_WHEEL = "VLLM_HETERO_KERNELS_WHEEL"
USER_VARIABLES = (
    PLATFORM,
    RANK_MAP,
    CPU_KV_CACHE_BYTES,
    CPU_COMPILE,
    CPU_LINEAR,
    HOP,
    STALL_TIMEOUT_S,
    START_TIMEOUT_S,
    SCHEDULER,
    MAX_STALL_S,
    STAGE_TIMES,
    MEMORY_REPORT,
    ANY_VLLM,
    CACHE,
    KERNELS_DIR,
    KERNELS_WHEEL,
)
ROLE = "VLLM_HETERO_ROLE"
RUN_DIR = "VLLM_HETERO_RUN_DIR"
METRICS_DIR = "VLLM_HETERO_METRICS_DIR"


@cache
def requested() -> bool:
    """Whether the user asked for a heterogeneous run."""
    return os.environ.get(PLATFORM, "0") == "1" or bool(os.environ.get(RANK_MAP))


@cache
def compile_cpu_ranks() -> bool:
    """Whether the user asked for torch.compile on CPU ranks."""
    return os.environ.get(CPU_COMPILE, "0") == "1"


@cache
def memory_report() -> Path | None:
    """Where the ranks' memory is to be written, or None."""
    given = os.environ.get(MEMORY_REPORT)
    return Path(given) if given else None


@cache
def stage_times() -> bool:
    """Whether ranks remember how long their layers take."""
    return os.environ.get(STAGE_TIMES, "0") == "1"


@cache
def role() -> Role:
    """What this process is: a GPU rank, a CPU rank, or neither (API server, engine core)."""
    value = os.environ.get(ROLE, "")
    if value == "gpu":
        return "gpu"
    return "cpu" if value == "cpu" else "engine"


def hop() -> str:
    """How stages pass activations.

    Raises:
        ValueError: it is not one of :data:`HOPS`.
    """
    kind = os.environ.get(HOP) or HOPS[0]
    if kind not in HOPS:
        raise ValueError(f"{HOP}={kind!r} is unknown; use {' or '.join(HOPS)}.")
    return kind


def cpu_kv_cache_bytes() -> int | None:
    """The user's budget for CPU ranks, or None.

    Raises:
        ValueError: it is no positive number of bytes.
    """
    given = os.environ.get(CPU_KV_CACHE_BYTES, "").strip()
    if not given:
        return None
    if not given.isdecimal() or int(given) == 0:
        raise ValueError(
            f"{CPU_KV_CACHE_BYTES}={given!r} is no number of bytes; give a positive integer, "
            "4294967296 for 4 GiB, or leave it out."
        )
    return int(given)


def seconds(name: str, default: float) -> float:
    """A time limit that the user may set.

    Returns:
        Seconds; infinity where the user switched the limit off with 0.

    Raises:
        ValueError: it is no number of seconds.
    """
    given = os.environ.get(name, "").strip()
    try:
        value = float(given) if given else default
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={given!r} is no number of seconds; give one, or 0 for no limit.")
    return value or math.inf


# Below the second after which a reader's thought is interrupted, also when two such pauses
# meet. Each chunk reads a stage's weights once more: at 60 ms that is an eighth of this time.
DEFAULT_MAX_STALL_S = 0.5


def max_stall_s() -> float:
    """How long a prompt may keep running requests from their next token; see :func:`seconds`."""
    return seconds(MAX_STALL_S, DEFAULT_MAX_STALL_S)


def own_scheduler() -> bool:
    """Whether the engine shall use this package's scheduler instead of vLLM's.

    Raises:
        ValueError: the variable names neither.
    """
    value = os.environ.get(SCHEDULER) or "hetero"
    if value not in ("hetero", "vllm"):
        raise ValueError(f"{SCHEDULER}={value} is not known; use hetero or vllm.")
    return value == "hetero"


@cache
def visible_gpus() -> int:
    """CUDA devices that this process may use, without initialising CUDA.

    Counts by NVML through vLLM, which honours ``CUDA_VISIBLE_DEVICES``; a machine
    without a driver has none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return 0
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        total = int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
    if visible is None:
        return total
    return len([part for part in visible.split(",") if part.strip()])
