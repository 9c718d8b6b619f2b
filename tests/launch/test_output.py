"""A server's output on disk: whole, split by rank, limited, and never in the server's way."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hetctl.launch.output.one_file import OneFile
from hetctl.launch.output.output import Output
from hetctl.launch.output.rank_logs import RankLogs
from hetctl.launch.output.record import Record
from hetctl.redact import MASK

LOG = "serve-8000.log"


def said(output: Output, *codes: str, timeout_s: float = 20) -> None:
    """Run processes that write into ``output``, at once, to their end."""
    descriptor = output.open()
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=descriptor, stderr=descriptor)
        for code in codes
    ]
    output.started()
    for process in processes:
        assert process.wait(60) == 0
    output.close(timeout_s)


def writes(*pieces: bytes) -> str:
    """A program that writes each piece by itself."""
    return f"import os\nfor piece in {pieces!r}:\n    os.write(1, piece)"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def records() -> list[Record]:
    return []


@pytest.mark.parametrize("make", [OneFile, RankLogs])
def test_all_that_is_said_is_there_and_for_the_user_only(
    make: Callable[[Path], Output], tmp_path: Path
) -> None:
    path = tmp_path / "new" / LOG
    said(make(path), writes(b"one\ntwo \xff\x00\x1b[31mred\x1b[0m\r\nthree, which never ends"))
    assert path.read_bytes() == b"one\ntwo \xff\x00\x1b[31mred\x1b[0m\r\nthree, which never ends"
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_file_begins_anew(tmp_path: Path) -> None:
    for word in (b"first", b"second"):
        said(OneFile(tmp_path / LOG), writes(word))
    assert files(tmp_path) == {LOG: b"second"}


@pytest.mark.parametrize(
    ("pp", "tp", "names"),
    [
        (1, 1, ["Worker"]),
        (3, 1, ["Worker_PP0", "Worker_PP1", "Worker_PP2"]),
        (1, 2, ["Worker_TP0", "Worker_TP1"]),
        (2, 2, ["Worker_PP0_TP0", "Worker_PP0_TP1", "Worker_PP1_TP0", "Worker_PP1_TP1"]),
        (1, 2, ["Worker_TP0_EP0", "Worker_TP1_EP1"]),
    ],
)
def test_each_rank_has_a_log_of_its_own(pp: int, tp: int, names: list[str], tmp_path: Path) -> None:
    lines = [f"({name} pid={7 + rank}) I am {rank}\n".encode() for rank, name in enumerate(names)]
    others = [b"(EngineCore pid=3) none\n", b"terminate called\n", b"(Worker_PP9 pid=99) forged\n"]
    output = RankLogs(tmp_path / LOG, pipeline_parallel_size=pp, tensor_parallel_size=tp)
    said(output, writes(*lines, *others))
    expected = {f"serve-8000.rank-{rank}.log": line for rank, line in enumerate(lines)}
    assert files(tmp_path) == expected | {LOG: b"".join(lines + others)}


def test_a_rank_is_known_by_torchs_prefix_and_by_what_its_process_is_called_later(
    tmp_path: Path,
) -> None:
    early = b"(Worker pid=5) who am I\n"
    torch = b"[rank1]:[E1130 18:00:00.123 ProcessGroupNCCL.cpp:12] gone\n"
    named = b"\x1b[0;36m(Worker_PP1 pid=5)\x1b[0;0m one\n"
    said(RankLogs(tmp_path / LOG, pipeline_parallel_size=2), writes(early, torch, named))
    assert files(tmp_path)[LOG] == early + torch + named
    assert files(tmp_path)["serve-8000.rank-1.log"] == torch + early + named


def test_a_line_is_put_together_however_it_is_torn(tmp_path: Path, records: list[Record]) -> None:
    line = "(Worker_PP1 pid=5) INFO 11-30 18:00:00 [a.py:1] 전체 \r\n".encode()
    output = RankLogs(tmp_path / LOG, pipeline_parallel_size=2, on_record=records.append)
    said(output, writes(*(bytes([byte]) for byte in line)))
    assert files(tmp_path) == {LOG: line, "serve-8000.rank-1.log": line}
    assert [(r.rank, r.level, r.source, r.message) for r in records] == [
        (1, "INFO", "a.py:1", "전체 ")
    ]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    def writer(rank: int) -> str:
        line = f"(Worker_PP{rank} pid={rank}) " + f"{rank}" * 500 + "\n"
        return f"import os\nfor _ in range(2000):\n    os.write(1, {line.encode()!r})"

    said(RankLogs(tmp_path / LOG, pipeline_parallel_size=2), writer(0), writer(1))
    for rank in (0, 1):
        lines = files(tmp_path)[f"serve-8000.rank-{rank}.log"].splitlines()
        assert lines == [f"(Worker_PP{rank} pid={rank}) ".encode() + b"%d" % rank * 500] * 2000
    assert len(files(tmp_path)[LOG].splitlines()) == 4000


def test_a_progress_bar_is_one_record_of_the_process_that_drew_it(
    tmp_path: Path, records: list[Record]
) -> None:
    bar = b"(Worker_PP0 pid=5) \rLoading:   0%\rLoading:  50%\rLoading: 100%\nnext\n"
    output = RankLogs(tmp_path / LOG, pipeline_parallel_size=2, on_record=records.append)
    said(output, writes(bar))
    assert files(tmp_path)[LOG] == bar
    assert [(r.rank, r.message) for r in records] == [(0, "Loading: 100%"), (None, "next")]


def test_a_line_without_end_is_cut_and_marked_and_takes_no_memory(tmp_path: Path) -> None:
    # Measured in a process of its own, whose peak no other test has raised.
    code = f"""
import resource, subprocess, sys
from pathlib import Path
from hetctl.launch.output.rank_logs import RankLogs
writer = "import os\\nfor _ in range(200): os.write(1, b'x' * 2**20)\\nprint('\\\\nafter')"
output = RankLogs(Path({str(tmp_path / LOG)!r}), on_record=lambda record: None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
subprocess.Popen([sys.executable, "-c", writer], stdout=output.open())
output.started()
output.close(60)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 32 * 1024
    line, after = files(tmp_path)[LOG].splitlines()
    assert line.endswith(b"xx [hetctl: cut, the line had 209715200 bytes]")
    assert len(line) < 300_000
    assert after == b"after"


SECRET = "5ecret-5ecret-5ecret"


def test_no_secret_is_written_even_where_a_line_is_cut(
    tmp_path: Path, records: list[Record]
) -> None:
    output = RankLogs(tmp_path / LOG, secrets=(SECRET,), on_record=records.append)
    lines = (
        f"(APIServer pid=1) INFO 11-30 18:00:00 [u.py:1] non-default args: {{'x': ['{SECRET}']}}\n"
        "(Worker pid=2) token=another-thing\n"
        f"{SECRET}\n" + "x" * (256 * 1024 - 10) + SECRET + "x" * 10_000 + "\n"
    )
    (tmp_path / "lines").write_text(lines)
    said(output, f"import os\nos.write(1, open({str(tmp_path / 'lines')!r}, 'rb').read())")
    (tmp_path / "lines").unlink()
    for text in (*files(tmp_path).values(), *(r.to_json().encode() for r in records)):
        assert SECRET[:6].encode() not in text
        assert b"another-thing" not in text
    assert files(tmp_path)[LOG].count(MASK.encode()) == 3


def test_files_are_limited_and_only_the_oldest_lines_go(tmp_path: Path) -> None:
    lines = [f"(Worker_PP{n % 2} pid=1) {n:0100}\n".encode() for n in range(1000)]
    said(
        RankLogs(tmp_path / LOG, pipeline_parallel_size=2, limit_bytes=2000, kept=3),
        writes(b"".join(lines)),
    )
    for name, own in ((LOG, lines), ("serve-8000.rank-1.log", lines[1::2])):
        parts = [tmp_path / f"{name}.{number}" for number in (3, 2, 1)] + [tmp_path / name]
        assert all(0 < part.stat().st_size <= 2000 for part in parts)
        kept = b"".join(part.read_bytes() for part in parts)
        assert kept == b"".join(own)[-len(kept) :]
        assert kept.startswith(b"(Worker")
    assert len(files(tmp_path)) == 3 * 4


def test_a_line_longer_than_a_file_is_divided(tmp_path: Path) -> None:
    said(RankLogs(tmp_path / LOG, limit_bytes=1024, kept=5), writes(b"a\n" + b"x" * 3000 + b"\n"))
    parts = [files(tmp_path)[f"{LOG}.{n}"] for n in (3, 2, 1)] + [files(tmp_path)[LOG]]
    assert b"".join(parts) == b"a\n" + b"x" * 3000 + b"\n"
    assert max(map(len, parts)) <= 1024


@pytest.mark.parametrize("again", [True, False], ids=["same object", "new object"])
def test_a_start_keeps_what_an_earlier_one_said(again: bool, tmp_path: Path) -> None:
    def logs() -> RankLogs:
        return RankLogs(tmp_path / LOG, pipeline_parallel_size=2, kept=2)

    output = logs()
    for number in range(4):
        output = output if again else logs()
        rank = b"(Worker_PP1 pid=1) early\n" if number == 2 else b""
        said(output, writes(rank + b"start %d\n" % number))
    assert files(tmp_path) == {
        LOG: b"start 3\n",
        f"{LOG}.1": b"(Worker_PP1 pid=1) early\nstart 2\n",
        f"{LOG}.2": b"start 1\n",
        # Not this server's, so it has not its name.
        "serve-8000.rank-1.log.1": b"(Worker_PP1 pid=1) early\n",
    }


def test_of_a_link_the_target_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "other-disk").mkdir()
    (tmp_path / LOG).symlink_to("other-disk/log")
    for word in (b"first", b"second"):
        said(RankLogs(tmp_path / LOG), writes(word))
    assert files(tmp_path / "other-disk") == {"log": b"second", "log.1": b"first"}


def test_fewer_kept_files_leave_none_behind(tmp_path: Path) -> None:
    for number in range(5):
        said(RankLogs(tmp_path / LOG, kept=3), writes(b"%d\n" % number))
    said(RankLogs(tmp_path / LOG, kept=0), writes(b"last\n"))
    assert files(tmp_path) == {LOG: b"last\n"}


SURVIVOR = """
import os, subprocess, sys
os.write(1, b"before\\n")
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
os.write(3, b"%d" % child.pid)
"""


@pytest.fixture
def with_survivor(tmp_path: Path) -> Iterator[Callable[[Output], None]]:
    """Lets a process write and end, and leave a child that has its output."""
    read, write = os.pipe()
    survivors: list[int] = []

    def run(output: Output) -> None:
        descriptor = output.open()
        code = SURVIVOR.replace("os.write(3", f"os.write({write}")
        subprocess.run(
            [sys.executable, "-c", code], stdout=descriptor, pass_fds=(write,), check=True
        )
        output.started()
        survivors.append(int(os.read(read, 100)))

    yield run
    for pid in survivors:
        os.kill(pid, 9)
    os.close(read)
    os.close(write)


def test_what_a_dead_server_said_is_there_though_a_rank_lives_on(
    with_survivor: Callable[[Output], None], tmp_path: Path, records: list[Record]
) -> None:
    output = RankLogs(tmp_path / LOG, on_record=records.append)
    with_survivor(output)
    assert output.drained(20)
    assert files(tmp_path)[LOG] == b"before\n"
    began = time.monotonic()
    output.close(timeout_s=0.2)
    assert time.monotonic() - began < 20
    assert [record.message for record in records] == ["before"]
    output.close()
    said(output, writes(b"again\n"))
    assert files(tmp_path) == {LOG: b"again\n", f"{LOG}.1": b"before\n"}


def test_a_writer_that_never_pauses_does_not_put_off_the_end(tmp_path: Path) -> None:
    output = RankLogs(tmp_path / LOG, limit_bytes=100_000, kept=1)
    code = "import os\nwhile True: os.write(1, b'x' * 1000 + b'\\n')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=output.open(), stderr=subprocess.DEVNULL
    )
    output.started()
    try:
        assert output.drained(20)
        output.close(timeout_s=0.2)
        # Its write fails.
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.wait()
    assert sum(map(len, files(tmp_path).values())) <= 200_000


def test_slow_and_failing_takers_of_records_do_not_stop_the_server(tmp_path: Path) -> None:
    go_on = threading.Event()
    taken: list[Record] = []

    def take(record: Record) -> None:
        go_on.wait(60)
        if record.message == "0":
            raise BrokenPipeError
        taken.append(record)

    output = RankLogs(tmp_path / LOG, on_record=take)
    code = "import os\nos.write(1, b''.join(b'%d\\n' % n for n in range(50_000)))"
    descriptor = output.open()
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=descriptor)
    output.started()
    assert writer.wait(60) == 0
    assert output.drained(60)
    assert files(tmp_path)[LOG].count(b"\n") == 50_000
    go_on.set()
    output.close(60)
    lost = sum(int(str(r.fields["records"])) for r in taken if r.event == "records-lost")
    assert lost > 1
    assert len([r for r in taken if r.event is None]) + lost == 50_000


def test_nothing_is_open_before_and_after(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    output = RankLogs(tmp_path / LOG, on_record=lambda record: None)
    output.started()
    assert output.drained()
    output.close()
    said(output, writes(b"(Worker pid=1) x\n"))
    output.open()
    output.started()
    output.close()
    output.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threading.active_count() == threads
