"""The fused norms and activations of CPU ranks, against float64."""

import pytest

from tests.runtime.real_kernels import results

pytestmark = pytest.mark.engine


def test_the_kernels_compute_what_torch_does_and_leave_it_what_they_cannot() -> None:
    cases = results("real_fused_ops.py", VLLM_PLUGINS="")
    assert {name for name, case in cases.items() if case["error"] > 4} == set()
    left = {name for name, case in cases.items() if not case["taken"]}
    assert left == {name for name in cases if name.endswith(("strided", "7x40"))}
    assert len(cases) > len(left) > 0
