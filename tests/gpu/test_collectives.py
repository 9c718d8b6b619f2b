"""The bridge with a GPU on one side: copies, streams, and the kernel for small tensors."""

from pathlib import Path

import pytest

from tests.runtime.collectives.test_bridge import check_collectives

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("layout", ["gc", "cgc"])
def test_every_collective_agrees_with_float64(layout: str, tmp_path: Path) -> None:
    check_collectives(layout, tmp_path, cuda=True)
