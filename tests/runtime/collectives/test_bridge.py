"""Collectives between device classes, among real processes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vllm_hetero.collectives.bridge import Bridge, bridge_bytes
from vllm_hetero.hops import segment

MEMBER = Path(__file__).parent / "member.py"


@pytest.mark.parametrize("layout", ["gc", "cgc", "ggcc"])
def test_every_collective_agrees_with_float64(layout: str, tmp_path: Path) -> None:
    check_collectives(layout, tmp_path, cuda=False)


def check_collectives(layout: str, folder: Path, *, cuda: bool) -> None:
    """Run ``member.py`` once for each letter of ``layout``; with ``cuda``, ``g`` has a GPU."""
    name, _ = segment.create(bridge_bytes(len(layout)))
    members = [
        subprocess.Popen(
            [sys.executable, str(MEMBER), name, layout, str(me), str(folder / "store")]
            + ["cuda"] * (cuda and letter == "g"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for me, letter in enumerate(layout)
    ]
    try:
        said = [member.communicate(timeout=120)[1] for member in members]
    finally:
        for member in members:
            member.kill()
        segment.remove(name)
    assert [member.returncode for member in members] == [0] * len(layout), "\n".join(said)


def test_more_members_than_a_lane_has_counters_for_are_refused() -> None:
    name, mapping = segment.create(1 << 16)
    segment.remove(name)
    with pytest.raises(ValueError, match="64 ranks in one group, at most 63 can mix"):
        Bridge(mapping, [True, False] * 32, 0, 1, torch.device("cpu"), None)
