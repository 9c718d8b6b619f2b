"""Ends a server's processes, all of them, and removes the shared memory they leave."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import psutil

_SHM = Path("/dev/shm")
# What vLLM, Python's multiprocessing, torch, NCCL and the plugin call their segments. Other
# files in /dev/shm that a server maps, model weights above all, belong to the user.
_SEGMENTS = re.compile(r"psm_|sem\.mp-|torch_|nccl-|vllm_hetero-|vllm_shm_|\d+-.*-cpushm_\d+$")


class ProcessTree:
    """A process that leads its own session, and everything started below it.

    The members are remembered, because a child whose parent died is no longer below it.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._members: dict[int, psutil.Process] = {}
        self._mapped: set[int] = set()
        self._before = set(_own_segments())

    def observe(self) -> None:
        """Remember the processes and the shared memory that exist now."""
        for process in self._session():
            self._members[process.pid] = process
            self._mapped |= _mapped_inodes(process.pid) - self._before

    def pids(self) -> set[int | None]:
        """Process ids of the members that run now."""
        self.observe()
        return {process.pid for process in self._alive()}

    def signal(self, number: signal.Signals) -> None:
        """Send to the leader alone: vLLM passes it on in its own order."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, number)

    def end(self, grace_s: float) -> bool:
        """Wait ``grace_s`` seconds for all to leave, kill the rest, remove shared memory.

        Returns:
            Whether all left by themselves.
        """
        self.observe()
        left = self._wait(grace_s)
        self.observe()
        for process in self._alive():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._wait(5.0)
        self._remove_segments()
        return left

    def _session(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self._leader:
                    found.append(process)
            except OSError:
                continue
        return found

    def _alive(self) -> list[psutil.Process]:
        for process in self._session():
            self._members.setdefault(process.pid, process)
        alive = []
        for process in self._members.values():
            with contextlib.suppress(psutil.Error):
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
        return alive

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _remove_segments(self) -> None:
        in_use: set[int] = set()
        for process in psutil.process_iter():
            in_use |= _mapped_inodes(process.pid)
        for inode, segment in _own_segments().items():
            if inode in self._mapped - in_use:
                with contextlib.suppress(OSError):
                    segment.unlink()


def _mapped_inodes(pid: int) -> set[int]:
    """Inodes in ``/dev/shm`` that a process maps; none if it is gone or not ours.

    Not paths: a semaphore is mapped under another name than it is given then.
    """
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    return {int(line.split(maxsplit=5)[4]) for line in lines if f" {_SHM}/" in line}


def _own_segments() -> dict[int, Path]:
    """This user's segments that exist now, by inode."""
    found = {}
    for path in _SHM.iterdir() if _SHM.is_dir() else ():
        with contextlib.suppress(OSError):
            status = path.stat()
            if _SEGMENTS.match(path.name) and status.st_uid == os.getuid():
                found[status.st_ino] = path
    return found
