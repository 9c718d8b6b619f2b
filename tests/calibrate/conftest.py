import sys
from pathlib import Path

import pytest

from hetctl.calibrate import rank_process

FAKE = Path(__file__).with_name("fake_rank.py")


@pytest.fixture
def fake_ranks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Measuring processes answer at once, or as ``FAKE_RANK`` says."""
    monkeypatch.setattr(rank_process, "PROGRAM", (sys.executable, str(FAKE)))
    monkeypatch.delenv("FAKE_RANK", raising=False)
    return monkeypatch
