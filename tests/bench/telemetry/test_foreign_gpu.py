"""What others do on the server's GPUs is told apart from what the server does."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from hetctl.bench.telemetry import run_sampler as sampler_module
from hetctl.bench.telemetry.foreign_gpu import ForeignGpuSource
from hetctl.bench.telemetry.run_sampler import run_sampler
from tests.bench import sample
from tests.probe.fake_nvml import FakeNvml

LEADER = 100
SESSIONS = {100: LEADER, 101: LEADER, 102: LEADER, 900: 900, 901: 901}
"""The server's engine and ranks, and two strangers."""


def session_of(pid: int) -> int:
    if pid not in SESSIONS:
        raise ProcessLookupError
    return SESSIONS[pid]


def used(at_us: int, **shares: int) -> list[SimpleNamespace]:
    """Percents of the GPU by process, such as ``p101=40``."""
    return [
        SimpleNamespace(pid=int(name[1:]), timeStamp=at_us, smUtil=share)
        for name, share in shares.items()
    ]


def device(*readings: Any, running: tuple[int, ...] = (101,)) -> dict[str, Any]:
    """A GPU that answers one reading after the other; the first is asked for at the start."""
    answers: Iterator[Any] = iter([[], *readings])
    return {
        "ComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in running],
        "ProcessUtilization": lambda since_us: next(answers),
    }


def source(*devices: dict[str, Any], leader: int | None = LEADER) -> ForeignGpuSource:
    indices = range(len(devices))
    return ForeignGpuSource(indices, leader, session_of, FakeNvml(*devices))


def test_the_servers_own_load_does_not_count() -> None:
    both = source(
        device(used(1, p101=97, p900=12, p901=3), used(2, p101=90)),
        device(used(1, p102=80), used(2, p102=80, p900=50, p777=60), running=(102, 900)),
    )
    assert both.columns == ("gpu0_foreign_busy_share", "gpu1_foreign_busy_share")
    assert both.read() == pytest.approx(
        {"gpu0_foreign_busy_share": 0.15, "gpu1_foreign_busy_share": 0.0}
    )
    # 777 has ended meanwhile; it was not the server's, whose processes live on.
    assert both.read() == pytest.approx(
        {"gpu0_foreign_busy_share": 0.0, "gpu1_foreign_busy_share": 1.0}
    )
    assert both.notes == ()


def test_a_gpu_on_which_nobody_was_active_is_not_busy() -> None:
    idle = pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    assert source(device(idle)).read() == {"gpu0_foreign_busy_share": 0.0}


def test_each_reading_asks_for_what_came_after_the_one_before() -> None:
    asked: list[int] = []
    answers = iter([[], used(10**18, p101=50), used(10**18 + 5, p101=50), []])

    def answer(since_us: int) -> Any:
        asked.append(since_us)
        return next(answers)

    found = source(device() | {"ProcessUtilization": answer})
    for _ in range(3):
        found.read()
    assert asked[0] == asked[1] > 10**15
    assert asked[2:] == [10**18, 10**18 + 5]


def test_where_the_server_is_not_seen_nothing_is_told_and_that_is_said() -> None:
    """On a GPU that it does not use, or where NVML numbers processes as the host does."""
    found = source(device(running=()), device(running=(900,)))
    assert found.columns == ()
    assert found.read() == {}
    assert found.notes == tuple(
        f"NVML shows no process of the server on GPU {index}, so foreign load there during the run "
        "is not told."
        for index in (0, 1)
    )


def test_a_gpu_that_does_not_tell_is_named_once() -> None:
    found = source({"ComputeRunningProcesses": [SimpleNamespace(pid=101)]})
    assert found.columns == ()
    assert found.notes == ("Foreign load on GPU 0 during the run cannot be told (Not Supported).",)


def test_a_failure_during_the_run_leaves_a_gap_and_a_note() -> None:
    lost = pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    found = source(device(lost, lost, used(1, p900=20)))
    assert [dict(found.read()) for _ in range(3)] == [{}, {}, {"gpu0_foreign_busy_share": 0.2}]
    assert found.notes == (f"Foreign load on GPU 0 could not be read ({lost}).",)


def test_without_a_server_or_a_driver_there_is_nothing() -> None:
    assert source(device(), leader=None).columns == ()
    missing = FakeNvml(init_error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    found = ForeignGpuSource([0], LEADER, session_of, missing)
    assert (found.columns, found.notes) == ((), ()), "the GPUs' own source tells it"
    found.close()


def test_nvml_is_closed() -> None:
    nvml = FakeNvml(device())
    found = ForeignGpuSource([0], LEADER, session_of, nvml)
    assert nvml.is_open
    found.close()
    assert not nvml.is_open


def test_the_questions_are_ones_that_the_bindings_have() -> None:
    assert callable(pynvml.nvmlDeviceGetComputeRunningProcesses)
    assert callable(pynvml.nvmlDeviceGetProcessUtilization)
    fields = {name for name, _ in pynvml.c_nvmlProcessUtilizationSample_t._fields_}
    assert {"pid", "timeStamp", "smUtil"} <= fields


def test_only_servers_that_hetctl_started_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int], int | None]] = []

    class Recorder(ForeignGpuSource):
        def __init__(self, indices: list[int], leader: int | None) -> None:
            asked.append((indices, leader))
            super().__init__((), None)

    monkeypatch.setattr(sampler_module, "ForeignGpuSource", Recorder)
    run_sampler(sample.machine(), None, tmp_path / "a.csv")
    assert asked == []
    run_sampler(sample.machine(), lambda: LEADER, tmp_path / "a.csv")
    assert asked == [([0], LEADER)]
