"""The kernel's out-of-memory killer is told by its counters, in each kind of control group."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vllm_hetero.kernel_oom import OomKills

V1 = "4:memory:/jobs/a\n1:cpu:/\n"
V2 = "0::/jobs/a\n"
FILES = {
    "machine": ("", "proc/vmstat", "nr_free_pages 5\noom_kill {}\n"),
    "v2": (V2, "sys/fs/cgroup/jobs/a/memory.events", "oom 9\noom_kill {}\noom_group_kill 4\n"),
    "v2 in a container": (V2, "sys/fs/cgroup/memory.events", "oom_kill {}\n"),
    "v1": (V1, "sys/fs/cgroup/memory/jobs/a/memory.oom_control", "under_oom 0\noom_kill {}\n"),
    "v1 in a container": (V1, "sys/fs/cgroup/memory/memory.oom_control", "oom_kill {}\n"),
}


@pytest.mark.parametrize(("groups", "file", "text"), FILES.values(), ids=FILES)
def test_kills_are_counted_from_the_start(
    tmp_path: Path, groups: str, file: str, text: str
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(3))
    kills = OomKills(tmp_path)
    assert kills.since() == 0
    path.write_text(text.format(4))
    assert kills.since() == 1


def test_a_kernel_that_does_not_count_says_none(tmp_path: Path) -> None:
    assert OomKills(tmp_path).since() == 0


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 32 MiB; needs privileges."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(root) / "vllm-hetero-test"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(32 << 20))
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("making a memory control group needs privileges")


def test_a_real_kill_is_seen(small_group: Path) -> None:
    kills = OomKills()
    code = (
        f"import os; open('{small_group}/cgroup.procs', 'w').write(str(os.getpid()));"
        "held = bytearray(b'x') * (256 << 20)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -9
    assert kills.since() >= 1
