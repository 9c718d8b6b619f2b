"""What NVML tells of a real GPU, idle and at work."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hetctl.bench.telemetry.digesting import digest
from hetctl.bench.telemetry.foreign_gpu import ForeignGpuSource
from hetctl.bench.telemetry.gpu import QUESTIONS, GpuSource
from hetctl.bench.telemetry.record import read_record
from hetctl.bench.telemetry.sampler import Sampler

pytestmark = pytest.mark.gpu

LOAD_S = 4.0


def test_every_figure_is_told_or_named(capsys: pytest.CaptureFixture[str]) -> None:
    source = GpuSource([0])
    figures = source.read()
    source.close()
    with capsys.disabled():
        print(f"\n{dict(figures)}\n{source.notes}")
    told = {column.removeprefix("gpu0_") for column in figures}
    for name in QUESTIONS:
        assert name in told or any(name in note for note in source.notes), name
    # No GPU that vLLM runs on lacks these.
    assert {"sm_clock_hz", "memory_used_bytes"} <= told
    assert 1e8 < figures["gpu0_sm_clock_hz"] < 1e10
    if "energy_j" not in told:
        assert "power_w" in told, "energy needs one of them"


def test_work_shows_in_power_energy_and_utilisation(tmp_path: Path) -> None:
    # Not above: collecting the tests must not wait for it.
    import torch

    path = tmp_path / "telemetry.csv"
    left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    with Sampler([GpuSource([0])], path, interval_s=0.2) as sampler:
        time.sleep(1)
        sampler.enter_phase("load")
        end = time.monotonic() + LOAD_S
        while time.monotonic() < end:
            for _ in range(20):
                left @ left
            torch.cuda.synchronize()
    found = digest(read_record(path), LOAD_S)
    assert found is not None
    (gpu,) = found.gpus
    assert gpu.power_mean_w is not None
    assert gpu.energy_j is not None
    assert gpu.power_mean_w > 50
    # The counter and the integral of power agree, as far as power changes between readings.
    assert gpu.energy_j == pytest.approx(gpu.power_mean_w * LOAD_S, rel=0.35)
    assert gpu.busy_mean is None or gpu.busy_mean > 0.5
    assert gpu.memory_used_max_bytes is not None
    assert gpu.memory_used_max_bytes >= left.nbytes
    assert sampler.cpu_s < 0.05 * LOAD_S


BUSY = """
import time, torch
left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
print("ready", flush=True)
end = time.monotonic() + 6
while time.monotonic() < end:
    left @ left
    torch.cuda.synchronize()
"""


@pytest.mark.parametrize("foreign", [False, True])
def test_what_others_do_is_told_apart_from_the_servers_work(foreign: bool) -> None:
    """This process is the server, and a child is at work in its session or in another."""
    import torch

    ours = torch.ones(1, device="cuda")
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=foreign
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        source = ForeignGpuSource([0], os.getsid(0))
        time.sleep(3)
        figures = source.read()
        notes = source.notes
        source.close()
    del ours
    if not source.columns and not figures:
        pytest.skip(f"NVML does not tell here: {'; '.join(notes)}")
    assert (figures["gpu0_foreign_busy_share"] > 0.5) == foreign
