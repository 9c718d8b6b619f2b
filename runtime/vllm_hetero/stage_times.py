"""How long the model's part of each step takes on a rank, for benchmarks.

``VLLM_HETERO_STAGE_TIMES=1`` turns it on. A rank then remembers its last steps, and its
worker's ``stage_times`` (by ``LLM.collective_rpc`` or, in vLLM's development mode, over HTTP)
hands them out. What a rank waits for another is not in them, nor is sampling.
"""

import time
from collections import deque
from dataclasses import asdict, dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

_REMEMBERED = 4096


@dataclass(frozen=True)
class StageTime:
    """One step."""

    tokens: int
    """Rows that went through the layers, padding included."""
    seconds: float


class StageTimes:
    """Measures the forward passes of a model runner, from now on."""

    def __init__(self, model_runner: "GPUModelRunner") -> None:
        self._steps: deque[tuple[int, _Span]] = deque(maxlen=_REMEMBERED)
        forward = model_runner._model_forward
        span = _GpuSpan if model_runner.device.type == "cuda" else _CpuSpan

        @wraps(forward)
        def timed(*args: Any, **kwargs: Any) -> Any:
            measured = span()
            output = forward(*args, **kwargs)
            measured.end()
            self._steps.append((kwargs["positions"].shape[-1], measured))
            return output

        model_runner._model_forward = timed  # type: ignore[method-assign]

    def take(self) -> list[dict[str, Any]]:
        """The steps since the last call, as dicts of :class:`StageTime`."""
        steps, self._steps = list(self._steps), deque(maxlen=_REMEMBERED)
        return [asdict(StageTime(tokens, span.seconds())) for tokens, span in steps]


class _CpuSpan:
    def __init__(self) -> None:
        self._start = time.perf_counter()

    def end(self) -> None:
        self._end = time.perf_counter()

    def seconds(self) -> float:
        return self._end - self._start


class _GpuSpan:
    """Between two points of the current stream: the host runs ahead of the GPU."""

    def __init__(self) -> None:
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self._start.record()

    def end(self) -> None:
        self._end.record()

    def seconds(self) -> float:
        self._end.synchronize()
        return self._start.elapsed_time(self._end) / 1e3


_Span = _CpuSpan | _GpuSpan
