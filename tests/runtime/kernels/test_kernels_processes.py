"""Killed and concurrent installations: whole or nothing, and the next one works."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vllm_hetero.kernels import install, kernels_dir

CHILD = Path(__file__).with_name("child_install.py")


def start(wheel: Path, environment: dict[str, str], *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(wheel), *more],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["fetching", "placing"])
def test_after_a_kill_nothing_is_half_made_and_the_next_install_works(
    make_wheel, index, store: Path, child_environment, moment: str
) -> None:
    wheel = make_wheel()
    if moment == "fetching":
        child = start(wheel, child_environment(wheel, FAKE_MODE="stall"))
        wait_until(index.log.with_suffix(".stalled").exists)
    else:
        child = start(wheel, child_environment(wheel), "stop before placing")
        assert child.stdout is not None
        assert any("placing" in line for line in child.stdout)
    # The whole group, as a terminal that closes would: the fake installer too.
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()

    assert not store.exists()
    assert kernels_dir() is None
    assert list(store.parent.glob(".*partial*")), "the kill came while files were being made"

    index.serves(wheel)
    assert install() == kernels_dir() == store
    assert not list(store.parent.glob(".*partial*"))


def test_two_installs_at_once_fetch_once_and_both_succeed(
    make_wheel, index, store: Path, child_environment
) -> None:
    wheel = make_wheel()
    first = start(wheel, child_environment(wheel, FAKE_MODE="slow"))
    wait_until(index.log.exists)
    second = start(wheel, child_environment(wheel))
    outputs = [child.communicate(timeout=60)[0] for child in (first, second)]

    assert [first.returncode, second.returncode] == [0, 0]
    assert [out.splitlines()[-1] for out in outputs] == [str(store)] * 2
    assert "waiting for another process" in outputs[1]
    assert len(index.calls) == 1
