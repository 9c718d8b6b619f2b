"""A change of what is predicted is noticed, and makes another predictor of the cost model."""

import pytest

from hetctl.planner import make_plan
from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.workload import Workload
from tests.planner.machines import machine, model
from tests.planner.predictions import predictions, recorded


def test_what_is_predicted_is_what_this_version_of_the_cost_model_predicted() -> None:
    """Else raise ``PREDICTOR_VERSION`` and run ``python -m tests.planner.predictions``."""
    on_record = recorded()
    assert on_record["predictor_version"] == PREDICTOR_VERSION
    found = predictions()
    assert found.keys() == on_record["predictions"].keys()
    for name, figures in found.items():
        assert figures == pytest.approx(on_record["predictions"][name], rel=1e-4), name


def test_a_plan_says_which_cost_model_predicted() -> None:
    plan = make_plan(machine(), model(), Workload())
    assert plan.predictor_version == PREDICTOR_VERSION
