"""How long a rank computes in each step. What it waits for another is not in it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

import torch

if TYPE_CHECKING:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner


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


class StepTimer:
    """Times the steps of a model runner, from now on.

    A GPU's host runs ahead of it, so a step's time is known later: it is told when the GPU is
    found to be done, and nobody waits for that.

    Args:
        model_runner: Of this rank; its model is loaded.
        tell: Called once for each step, in order.
    """

    def __init__(self, model_runner: "GPUModelRunner", *tell: Callable[[StageTime], None]) -> None:
        self._tell = tell
        self._steps: deque[_Step] = deque()
        self._on_gpu = model_runner.device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        forward = model_runner._model_forward

        @wraps(forward)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.settle()
            begun_s = time.perf_counter()
            if self._on_gpu:
                # Once a step: it costs more than recording an event.
                self._stream = torch.cuda.current_stream()
            layers = self._span()
            output = forward(*args, **kwargs)
            layers.end()
            self._steps.append(_Step(kwargs["positions"].shape[-1], begun_s, layers))
            return output

        model_runner._model_forward = timed  # type: ignore[method-assign]
        self._time_head(model_runner.model, "compute_logits")
        self._time_head(model_runner, "_sample")

    def settle(self) -> None:
        """Tell the steps that are done. To be called when none is in the middle."""
        while self._steps and self._steps[0].is_done():
            self._tell_first()

    def finish(self) -> None:
        """Wait until all steps are done, and tell them."""
        while self._steps:
            self._steps[0].wait()
            self._tell_first()

    def _span(self) -> "_Span":
        return _CpuSpan() if self._stream is None else _GpuSpan(self._stream)

    def _tell_first(self) -> None:
        step = self._steps.popleft().time()
        for tell in self._tell:
            tell(step)

    def _time_head(self, owner: Any, method: str) -> None:
        """Add the time of each call of ``owner.method`` to the step that it belongs to."""
        call = getattr(owner, method, None)
        if call is None:
            return

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            # Warming up samples without a step.
            if not self._steps:
                return call(*args, **kwargs)
            span = self._span()
            output = call(*args, **kwargs)
            span.end()
            self._steps[-1].head.append(span)
            return output

        setattr(owner, method, timed)


@dataclass
class _Step:
    tokens: int
    begun_s: float
    layers: "_Span"
    head: list["_Span"] = field(default_factory=list)

    @property
    def _last(self) -> "_Span":
        return self.head[-1] if self.head else self.layers

    def is_done(self) -> bool:
        return self._last.is_done()

    def wait(self) -> None:
        self._last.wait()

    def time(self) -> StageTime:
        head_s = sum(span.seconds() for span in self.head)
        return StageTime(self.tokens, self.begun_s, self.layers.seconds(), head_s)


class _CpuSpan:
    def __init__(self) -> None:
        self._start = time.perf_counter()

    def end(self) -> None:
        self._end = time.perf_counter()

    def is_done(self) -> bool:
        return True

    def wait(self) -> None:
        pass

    def seconds(self) -> float:
        return self._end - self._start


class _GpuSpan:
    """Between two points of a stream."""

    _spare: ClassVar[list[tuple[torch.cuda.Event, torch.cuda.Event]]] = []
    """Events are used again: making one costs more than recording it."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._events = self._spare.pop() if self._spare else (_event(), _event())
        self._events[0].record(stream)

    def end(self) -> None:
        self._events[1].record(self._stream)

    def is_done(self) -> bool:
        return self._events[1].query()

    def wait(self) -> None:
        self._events[1].synchronize()

    def seconds(self) -> float:
        """To be asked once, of a span that is done."""
        start, end = self._events
        self._spare.append(self._events)
        return start.elapsed_time(end) / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)


_Span = _CpuSpan | _GpuSpan
