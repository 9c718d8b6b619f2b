"""Machines for checks to look at."""

from pathlib import Path
from typing import Any

from hetctl.doctor.check import Surroundings
from hetctl.machine import Machine
from hetctl.probe.files import Files
from tests.planner.machines import machine


def surroundings(
    root: Path = Path("/nowhere"),
    *,
    on: Machine | None = None,
    gpus: Any = 0,
    nodes: Any = 1,
    **environment: str,
) -> Surroundings:
    """A machine whose files are below ``root``."""
    return Surroundings(on or machine(gpus=gpus, nodes=nodes), Files(root), environment)
