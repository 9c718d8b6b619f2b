"""Patch: no pause of a millisecond in each decode step of a pipeline.

What: ``EngineCore.step_with_batch_queue`` reports that a model ran when it returns outputs.
Why: with several batches allowed in flight and all requests in one, the engine schedules an
empty batch, waits for the full one's tokens, and reports that nothing ran; its caller then
sleeps for 1 ms, once per decode step, to let threads of KV transfers work. There are none
here: KV transfer is refused.
Removable when: ``EngineCoreProc._process_engine_step`` sleeps only where nothing came of a step.
"""

from typing import Any

from vllm.v1.engine.core import EngineCore

from vllm_hetero.patches.contract import require_parameters


def apply() -> None:
    """Wrap the method; does nothing the second time."""
    original = EngineCore.step_with_batch_queue
    if hasattr(original, "reports_outputs"):
        return
    require_parameters(original, ("self",))

    def step_with_batch_queue(self: EngineCore) -> tuple[Any, bool]:
        outputs, model_executed = original(self)
        return outputs, model_executed or bool(outputs)

    step_with_batch_queue.reports_outputs = True  # type: ignore[attr-defined]
    EngineCore.step_with_batch_queue = step_with_batch_queue
