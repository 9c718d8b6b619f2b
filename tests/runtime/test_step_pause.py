"""The engine does not pause after a step that brought tokens."""

import queue
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

from vllm.v1.engine import core

from vllm_hetero.patches import step_pause


@pytest.mark.parametrize(("outputs", "pauses"), [({0: "tokens"}, 0), ({}, 1), (None, 1)])
def test_only_a_step_without_outputs_pauses(
    outputs: Any, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_ran(self: core.EngineCore) -> tuple[Any, bool]:
        return outputs, False

    monkeypatch.setattr(core.EngineCore, "step_with_batch_queue", nothing_ran)
    step_pause.apply()
    step_pause.apply()
    slept: list[float] = []
    monkeypatch.setattr(core.time, "sleep", slept.append)
    engine = SimpleNamespace(
        output_queue=queue.Queue(),
        post_step=lambda model_executed: None,
        scheduler=SimpleNamespace(has_requests=lambda: True),
    )
    engine.step_fn = lambda: core.EngineCore.step_with_batch_queue(engine)
    core.EngineCoreProc._process_engine_step(engine)
    assert len(slept) == pauses
    assert engine.output_queue.qsize() == len(outputs or {})
