"""How long a rank computes in each step, for benchmarks.

``VLLM_HETERO_STAGE_TIMES=1`` turns it on. A rank then remembers its last steps, and its
worker's ``stage_times`` (by ``LLM.collective_rpc`` or, in vLLM's development mode, over HTTP)
hands them out. What a rank waits for another is not in them.
"""

import time
from collections import deque
from dataclasses import asdict, dataclass, field
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
    begun_s: float
    """``time.perf_counter()`` of this rank's host when it began with the layers."""
    seconds: float
    """Of the rank's layers."""
    head_seconds: float
    """Of logits and sampling; 0 on every stage but the last."""


class StageTimes:
    """Measures the steps of a model runner, from now on."""

    def __init__(self, model_runner: "GPUModelRunner") -> None:
        self._steps: deque[_Step] = deque(maxlen=_REMEMBERED)
        self._span = _GpuSpan if model_runner.device.type == "cuda" else _CpuSpan
        forward = model_runner._model_forward

        @wraps(forward)
        def timed(*args: Any, **kwargs: Any) -> Any:
            begun_s = time.perf_counter()
            layers = self._span()
            output = forward(*args, **kwargs)
            layers.end()
            self._steps.append(_Step(kwargs["positions"].shape[-1], begun_s, layers))
            return output

        model_runner._model_forward = timed  # type: ignore[method-assign]
        self._time_head(model_runner.model, "compute_logits")
        self._time_head(model_runner, "_sample")

    def take(self) -> list[dict[str, Any]]:
        """The steps since the last call, as dicts of :class:`StageTime`."""
        steps, self._steps = list(self._steps), deque(maxlen=_REMEMBERED)
        return [asdict(step.time()) for step in steps]

    def _time_head(self, owner: Any, method: str) -> None:
        """Add the time of each call of ``owner.method`` to the step that it belongs to."""
        call = getattr(owner, method, None)
        if call is None:
            return

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            span = self._span()
            output = call(*args, **kwargs)
            span.end()
            if self._steps:
                self._steps[-1].head.append(span)
            return output

        setattr(owner, method, timed)


@dataclass
class _Step:
    tokens: int
    begun_s: float
    layers: "_Span"
    head: list["_Span"] = field(default_factory=list)

    def time(self) -> StageTime:
        head_s = sum(span.seconds() for span in self.head)
        return StageTime(self.tokens, self.begun_s, self.layers.seconds(), head_s)


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
