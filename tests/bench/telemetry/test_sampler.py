"""A file with a row per reading, which no failure of a source can take from the run."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from hetctl.bench.telemetry.record import read_record
from hetctl.bench.telemetry.sampler import CPU_SHARE, Sampler
from hetctl.errors import HetctlError


class Counter:
    """Counts how often it was read; fails when told to."""

    columns = ("reads_total_bytes", "now")
    notes: tuple[str, ...] = ("a note",)

    def __init__(self, fail_after: int = 10**9, busy_s: float = 0.0) -> None:
        self.reads = 0
        self.closed = False
        self._fail_after = fail_after
        self._busy_s = busy_s

    def read(self) -> Mapping[str, float]:
        end = time.thread_time() + self._busy_s
        while time.thread_time() < end:
            pass
        self.reads += 1
        if self.reads > self._fail_after:
            raise ValueError("broken")
        return {"reads_total_bytes": float(self.reads), "unknown": 1.0}

    def close(self) -> None:
        self.closed = True


def test_a_phase_begins_and_ends_with_a_row(tmp_path: Path) -> None:
    path, source = tmp_path / "telemetry/a-1.csv", Counter()
    with Sampler([source], path, interval_s=3600) as sampler:
        for phase in ("server", "server", "load", "stop"):
            sampler.enter_phase(phase)
    assert source.closed
    record = read_record(path)
    assert record.phases == ("idle", "idle", "server", "load", "stop")
    assert record.columns == {"reads_total_bytes": (1, 2, 3, 4, 5), "now": (None,) * 5}
    window = record.window("load", 100)
    assert window is not None
    assert window.begin_s == record.times_s[2]
    assert window.end_s == record.times_s[4]


def test_rows_come_by_themselves(tmp_path: Path) -> None:
    source = Counter()
    with Sampler([source], tmp_path / "t.csv", interval_s=0.01):
        deadline = time.monotonic() + 10
        while source.reads < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert source.reads >= 5


def test_a_slow_source_is_read_less_often(tmp_path: Path) -> None:
    source = Counter(busy_s=0.003)
    with Sampler([source], tmp_path / "t.csv", interval_s=0.001) as sampler:
        began = time.monotonic()
        while source.reads < 3 and time.monotonic() < began + 30:
            time.sleep(0.01)
        passed = time.monotonic() - began
    assert source.reads >= 3
    assert sampler.cpu_s / (passed + 0.003 / CPU_SHARE) <= 2 * CPU_SHARE


def test_a_source_that_breaks_is_named_once_and_the_others_go_on(tmp_path: Path) -> None:
    good, bad = Counter(), Counter(fail_after=1)
    with Sampler([bad, good], tmp_path / "t.csv", interval_s=3600) as sampler:
        sampler.enter_phase("server")
        sampler.enter_phase("load")
    assert sampler.notes == ("a note", "Counter failed during the run: ValueError('broken').")
    assert good.reads == 4


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HetctlError, match="Cannot write"), Sampler([], tmp_path / "file/t.csv"):
        pass


def test_a_record_that_was_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time_s,phase,a,b\n1.0,load,1,\n2.0,load,2,5\n3.0,lo")
    record = read_record(path)
    assert record.columns == {"a": (1, 2), "b": (None, 5)}


@pytest.mark.parametrize("text", ["", "a,b\n", "time_s,phase,a\n1,load,x\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(HetctlError, match="is not telemetry"):
        read_record(path)
    with pytest.raises(HetctlError, match="Cannot read"):
        read_record(tmp_path / "none.csv")
