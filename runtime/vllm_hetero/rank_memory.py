"""What each rank of an engine takes of its device's memory, as data.

``VLLM_HETERO_MEMORY_REPORT=FILE`` has the engine write it as JSON once all ranks are ready,
with CPU ranks or without::

    {"schema": "vllm_hetero.memory/1", "ranks": [{"rank": 0, "device": "cuda:0", ...}, ...]}

with the fields of :class:`RankMemory` for each rank. vLLM tells the same in sentences of its
log, rounded to 10 MiB.
"""

import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

SCHEMA = "vllm_hetero.memory/1"


@dataclass(frozen=True)
class RankMemory:
    """Memory of one rank's device, in bytes, after warm-up and before the first request."""

    rank: int
    device: str
    """``cuda:N`` as the rank counts its devices, or ``cpu``."""
    pid: int
    layers: tuple[int, int]
    """First, and one past the last."""
    weight_bytes: int
    """As they grew while the model loaded, so on a CPU with what its code and kernels took then."""
    kv_cache_bytes: int
    kv_cache_blocks: int
    second_copy_bytes: int = 0
    """Of the weights, second copies in another kernel's form: of memory that was left over, where
    they make a CPU rank faster."""
    activation_bytes: int | None = None
    """On a GPU, what vLLM's trial run of a full batch took beside the weights; None where it
    made none, as the size of the KV cache was given."""
    cuda_graph_bytes: int | None = None
    non_torch_bytes: int | None = None
    """On a GPU, what libraries took during the trial run."""
    used_bytes: int = 0
    """On a GPU, what this process took since its CUDA context was made; on a CPU, its memory
    that no file backs."""
    peak_bytes: int = 0
    """The most so far: on a GPU, ``used_bytes`` with torch's largest reservation in place of
    the present one; on a CPU, the largest resident size less the present pages of files."""
    device_free_bytes: int | None = None
    """On a GPU, what is free now. What was free before this process began, less this, is what
    it took with its context, which it cannot tell by itself."""


def note_graph_memory(worker: Any) -> None:
    """Runs in a rank, before graphs are captured: keep what capturing them takes."""
    runner = worker.model_runner
    capture: Callable[[], int] | None = getattr(runner, "capture_model", None)
    if capture is None:
        return

    @wraps(capture)
    def capture_model() -> int:
        runner.captured_graph_bytes = capture()
        return int(runner.captured_graph_bytes)

    runner.capture_model = capture_model


def rank_memory(worker: Any) -> RankMemory | str:
    """Runs in a rank, once it is ready; why not, where the rank cannot tell.

    It never raises: vLLM would lose the other ranks' replies, and an engine is not to fail for
    want of a report.

    Args:
        worker: vLLM's wrapper of the rank's worker.
    """
    try:
        return _rank_memory(worker)
    except Exception as error:
        return f"rank {getattr(worker, 'rank', '?')} cannot tell: {type(error).__name__}: {error}"


def _rank_memory(worker: Any) -> RankMemory:
    runner = worker.model_runner
    kv_cache = runner.kv_cache_config
    on_gpu = runner.device.type == "cuda"
    weights = getattr(worker, "weight_bytes", None)
    return RankMemory(
        rank=worker.rank,
        device=str(runner.device) if on_gpu else "cpu",
        pid=os.getpid(),
        layers=worker.model_config.get_layers_start_end_indices(worker.parallel_config),
        weight_bytes=int(runner.model_memory_usage if weights is None else weights),
        kv_cache_bytes=sum(tensor.size for tensor in kv_cache.kv_cache_tensors),
        kv_cache_blocks=kv_cache.num_blocks,
        second_copy_bytes=getattr(worker, "second_copy_bytes", 0),
        activation_bytes=getattr(worker, "peak_activation_memory", None),
        cuda_graph_bytes=getattr(runner, "captured_graph_bytes", None),
        non_torch_bytes=getattr(worker, "non_torch_memory", None),
        **(_gpu_use(worker) if on_gpu else cpu_use()),
    )


def _gpu_use(worker: Any) -> dict[str, int]:
    import torch

    device = worker.model_runner.device
    free, _ = torch.cuda.mem_get_info(device)
    torchs = torch.cuda.memory_stats(device)
    spared = torchs["reserved_bytes.all.peak"] - torchs["reserved_bytes.all.current"]
    used = worker.init_snapshot.free_memory - free
    return {"used_bytes": used, "peak_bytes": used + spared, "device_free_bytes": free}


def cpu_use(status: Path = Path("/proc/self/status")) -> dict[str, int]:
    """What a process takes of the host's memory, from its ``/proc/PID/status``."""
    lines = status.read_text(encoding="utf-8").splitlines()
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    files, most, now = (int(fields[name][0]) << 10 for name in ("RssFile", "VmHWM", "VmRSS"))
    return {"used_bytes": now - files, "peak_bytes": most - files}


def write_report(path: Path, ranks: Sequence[RankMemory]) -> None:
    """Write the document in one step: who finds the file finds it whole.

    Raises:
        OSError: it cannot be written.
    """
    document = {"schema": SCHEMA, "ranks": [asdict(rank) for rank in ranks]}
    # The log it lies beside may be in /tmp, where others can put links under names they can guess.
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with new.open("x", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")
    new.replace(path)
