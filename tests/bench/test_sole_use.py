"""Two benchmarks must not write into one folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from hetctl.bench.sole_use import sole_use
from hetctl.errors import HetctlError, UsageError

HOLD = """
import sys
from pathlib import Path
from hetctl.bench.sole_use import sole_use
with sole_use(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_until_the_process_ends_even_by_force(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(UsageError, match=r"Another hetctl bench is at work in .*out"),
            sole_use(folder),
        ):
            pass
        holder.kill()
    with sole_use(folder):
        assert list(folder.iterdir()) == [], "nothing is left behind"
    with sole_use(folder):
        pass


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with (
        pytest.raises(HetctlError, match=r"Cannot use the folder .*out"),
        sole_use(tmp_path / "out"),
    ):
        pass
