"""The plan that ``hetctl doctor --full`` serves."""

from pathlib import Path

import pytest

from hetctl.doctor.engine import two_rank_plan
from hetctl.launch.command import launch_command
from hetctl.model.tiny import write_tiny
from tests.doctor.surroundings import surroundings


@pytest.mark.parametrize(
    ("gpus", "devices"), [(0, ["cpu", "cpu"]), (1, ["cuda:0", "cpu"]), (4, ["cuda:0", "cpu"])]
)
def test_it_has_two_ranks_and_a_gpu_where_there_is_one(
    gpus: int, devices: list[str], tmp_path: Path
) -> None:
    write_tiny(tmp_path / "model")
    plan = two_rank_plan(surroundings(gpus=gpus), tmp_path / "model")
    assert [rank.device for rank in plan.ranks] == devices
    assert launch_command(plan, host="127.0.0.1", port=1).env["VLLM_HETEROGENEOUS_PLATFORM"] == "1"
