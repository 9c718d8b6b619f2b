from pathlib import Path

import pytest
from machine_tree import MachineTree


@pytest.fixture
def tree(tmp_path: Path) -> MachineTree:
    """An empty file tree to build a machine in."""
    return MachineTree(tmp_path)
