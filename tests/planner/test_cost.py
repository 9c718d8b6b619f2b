"""What a layer takes: attention over windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetctl.planner.cost import step_cost
from hetctl.planner.device import gpu_device
from hetctl.planner.request import PlanRequest
from hetctl.planner.steps import Step
from tests.planner.machines import gpu, model

RATES = gpu_device(gpu(), PlanRequest(), "bfloat16").rates


@given(st.integers(1, 3000), st.sampled_from([None, 1, 100, 1024]))
def test_a_prompt_looks_back_to_its_beginning_or_over_the_window(
    prompt: int, window: int | None
) -> None:
    layer = model().layers[0].model_copy(update={"sliding_window": window})
    spec = model(layers=(layer,))
    step = Step(0, 0.0, prompt, (prompt + 1) / 2)
    looks = sum(min(position, window or prompt) for position in range(1, prompt + 1))
    flops = 4 * spec.attention_heads * spec.head_dim * looks
    found = step_cost(spec, RATES, step).layers[0].attention_s
    assert found == pytest.approx(flops / RATES.matmul_flops)
