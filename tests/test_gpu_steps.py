"""The script for machines with a GPU names only what there is, and keeps to its time."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks/gpu.sh"


def run(out: Path, *steps: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", SCRIPT, *steps],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OUT": str(out), "PYTHON": sys.executable, **variables},
    )


def test_what_it_runs_exists() -> None:
    text = SCRIPT.read_text()
    files = set(re.findall(r"benchmarks/\w+\.py", text))
    files |= {f"tests/gpu/{name}" for name in re.findall(r"tests \d+ (\w+\.py)", text)}
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_test_on_a_gpu_is_a_step() -> None:
    named = set(re.findall(r"tests \d+ (\w+\.py)", SCRIPT.read_text()))
    assert named == {path.name for path in (ROOT / "tests/gpu").glob("test_*.py")}


def test_the_steps_listed_are_those_that_run() -> None:
    text = SCRIPT.read_text()
    listed = re.search(r'^all="([^"]+)"', text, re.MULTILINE)
    assert listed
    cases = re.findall(r"^    ([a-z-]+)\)", text, re.MULTILINE)
    assert sorted(listed[1].replace("\\\n", "").split()) == sorted(cases)


def test_an_unknown_step_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    done = run(tmp_path, "hopps")
    assert done.returncode == 2
    assert "hopps is no step; the steps are: collectives one-gpu" in done.stderr


def test_what_would_not_fit_the_time_is_named_and_not_begun(tmp_path: Path) -> None:
    done = run(tmp_path, "runtime", "hops", SECONDS_LEFT="60")
    assert done.returncode == 1
    assert "runtime: left out, it may take 500 s and 60 are left" in done.stdout
    assert not (tmp_path / "hops.log").exists()


def test_a_step_that_fails_is_told_and_its_log_kept(tmp_path: Path) -> None:
    done = run(tmp_path, "hops", PYTHON="false")
    assert done.returncode == 1
    assert "hops: failed (exit 1) after" in done.stdout
    assert (tmp_path / "hops.log").exists()
