"""Two servers do not use one GPU by accident, across processes and users."""

import os
import subprocess
import sys
import uuid

import pytest

from hetctl.errors import HetctlError
from hetctl.launch.gpu_lock import GpuLocks

HOLDS = """
import sys, time
from hetctl.launch.gpu_lock import GpuLocks
locks = GpuLocks()
locks.acquire(["0"], {"0": sys.argv[1]})
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def names() -> dict[str, str]:
    """Two GPUs that no other test has."""
    return {"0": f"GPU-{uuid.uuid4()}", "1": f"GPU-{uuid.uuid4()}"}


def test_a_gpu_has_one_server_until_it_is_released(names: dict[str, str]) -> None:
    first, second = GpuLocks(), GpuLocks()
    first.acquire(["0"], names)
    with pytest.raises(HetctlError, match=rf"GPU 0 is used .*\(process {os.getpid()} of user"):
        second.acquire(["0"], names)
    first.release()
    second.acquire(["0"], names)
    second.release()


def test_all_gpus_are_taken_or_none(names: dict[str, str]) -> None:
    first, second, third = GpuLocks(), GpuLocks(), GpuLocks()
    first.acquire(["1"], names)
    with pytest.raises(HetctlError, match="GPU 1 is used"):
        second.acquire(["0", "1"], names)
    third.acquire(["0"], names)
    first.release()
    third.release()


def test_a_gpu_is_what_it_is_whatever_its_number(names: dict[str, str]) -> None:
    first, second = GpuLocks(), GpuLocks()
    first.acquire(["0"], names)
    with pytest.raises(HetctlError, match="GPU 5 is used"):
        second.acquire(["5"], {"5": names["0"]})
    first.release()


def test_another_process_holds_it_to_its_end_and_whoever_inherited_it(
    names: dict[str, str],
) -> None:
    command = [sys.executable, "-c", HOLDS, names["0"]]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    locks = GpuLocks()
    with pytest.raises(HetctlError, match=rf"\(process {holder.pid} of user"):
        locks.acquire(["0"], names)
    holder.kill()
    holder.communicate()
    locks.acquire(["0"], names)
    server = subprocess.Popen(["sleep", "60"], pass_fds=locks.descriptors)
    locks.release()
    with pytest.raises(HetctlError, match="GPU 0 is used"):
        locks.acquire(["0"], names)
    server.kill()
    server.wait()
    locks.acquire(["0"], names)
    locks.release()
