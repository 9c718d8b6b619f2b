"""Ending a server takes its shared memory along, and nothing that is the user's."""

import subprocess
import sys
import time
import uuid
from pathlib import Path

from hetctl.launch.process_tree import ProcessTree

HOLD = """
import mmap, sys, time
held = []
for name in sys.argv[1:]:
    with open(name, "w+b") as file:
        file.truncate(4096)
        held.append(mmap.mmap(file.fileno(), 4096))
print("mapped", flush=True)
time.sleep(60)
"""


def test_segments_go_and_model_weights_stay() -> None:
    tag = uuid.uuid4().hex
    segment = Path("/dev/shm") / f"psm_{tag}"
    weights = Path("/dev/shm") / f"model-{tag}.safetensors"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(segment), str(weights)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        tree = ProcessTree(child.pid)
        assert child.stdout is not None
        child.stdout.readline()
        # Made before the tree was: another program's.
        tree._before.discard(segment.stat().st_ino)
        tree.end(grace_s=0.2)
        child.wait(5)
        assert not segment.exists()
        assert weights.exists()
    finally:
        child.kill()
        weights.unlink(missing_ok=True)
        segment.unlink(missing_ok=True)


SEMAPHORE = """
import multiprocessing, multiprocessing.synchronize, time
held = multiprocessing.get_context("spawn").Semaphore()
print(held._semlock.name, flush=True)
time.sleep(60)
"""


def test_a_semaphore_of_a_killed_process_goes() -> None:
    """Nobody is left to remove it: Python's tracker of resources is killed as well."""
    leader = subprocess.Popen(
        [sys.executable, "-c", SEMAPHORE], stdout=subprocess.PIPE, start_new_session=True
    )
    tree = ProcessTree(leader.pid)
    assert leader.stdout is not None
    name = leader.stdout.readline().decode().strip()
    semaphore = Path(f"/dev/shm/sem.{name.removeprefix('/')}")
    try:
        assert semaphore.exists()
        tree.end(grace_s=0.1)
        leader.wait(5)
        assert not semaphore.exists()
    finally:
        leader.kill()
        semaphore.unlink(missing_ok=True)


def test_a_process_that_ignores_sigterm_is_killed_with_its_children() -> None:
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('up', flush=True); time.sleep(60)"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    assert leader.stdout is not None
    leader.stdout.readline()
    tree = ProcessTree(leader.pid)
    started = time.monotonic()
    assert tree.end(grace_s=0.3) is False
    leader.wait(5)
    assert time.monotonic() - started < 8
    assert tree._alive() == []
