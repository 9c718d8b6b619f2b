"""``hetctl doctor --full`` on a machine with a GPU: every check of it is a real one."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu


def test_the_gpu_s_side_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hetctl", "doctor", "--full", "--json"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    findings = {(f["group"], f["name"]): f for f in json.loads(done.stdout)["findings"]}
    for check in (
        ("GPU", "NVML"),
        ("GPU", "driver and CUDA"),
        ("GPU", "CUDA starts"),
        ("two ranks", "platform"),
        ("two ranks", "kernels load"),
        ("two ranks", "pinned memory"),
        ("two ranks", "Gloo"),
        ("two ranks", "shared memory"),
        ("engine", "demo model"),
    ):
        assert findings[check]["status"] == "pass", findings[check]
    assert "HeterogeneousCudaPlatform" in findings["two ranks", "platform"]["detail"]
    assert findings["engine", "demo model"]["detail"].startswith("cuda:0 and cpu: ready in")
