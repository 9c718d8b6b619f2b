"""How much memory a rank's weights take, whatever form they are held in."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

_STATUS = Path("/proc/self/status")


class WeightMemory:
    """Watches the loading of a model.

    On a GPU, vLLM measures it. On a CPU it is what this process's own memory grew by: kernels
    hold weights in forms of their own, outside of any tensor, while pages of the checkpoint's
    file that are mapped belong to the system.
    """

    def __init__(self) -> None:
        self._before = anonymous_bytes()

    def used_by(self, model_runner: "GPUModelRunner") -> int:
        """Bytes, once the model of this rank is loaded."""
        if model_runner.device.type == "cuda":
            return int(model_runner.model_memory_usage)
        return max(0, anonymous_bytes() - self._before)


def anonymous_bytes(status: Path = _STATUS) -> int:
    """Resident memory of this process that no file backs."""
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{status} has no RssAnon; Linux 4.5 or newer is needed")
