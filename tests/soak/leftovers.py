"""What a server leaves on the machine: processes, shared memory, files."""

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from hetctl.launch.run_folder import RunFolder
from tests.e2e.engine import shared_memory, unmapped


class Leftovers:
    """Looks for what servers leave that were started with :attr:`environment`.

    Args:
        folder: A short path: that of a socket below it may have 107 characters.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.state = folder / "state"
        for made in (self.temporary, self.state):
            made.mkdir(exist_ok=True)
        self.environment = {"TMPDIR": str(self.temporary), "XDG_STATE_HOME": str(self.state)}
        self._shared_memory = shared_memory()
        self._sessions: set[int] = set()

    def begin(self) -> None:
        """What is in ``/dev/shm`` from now on is the next server's."""
        self._shared_memory = shared_memory()

    def processes(self) -> list[psutil.Process]:
        """The servers' processes that live.

        A server leads a session, which is known by the folder for state in its environment. Of
        ranks the environment says nothing: the title that vLLM gives them is written over it.
        """
        mark = f"XDG_STATE_HOME={self.state}".encode()
        own, found = os.getsid(0), []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                session = os.getsid(process.pid)
                if session == own:
                    continue
                if session not in self._sessions:
                    if mark not in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                        continue
                    self._sessions.add(session)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def now(self) -> list[str]:
        """What is there, in words. Files of state stay by intent: logs and what ranks held."""
        running = [f"process {p.pid} {_title(p)}" for p in self.processes()]
        segments = [f"shared memory {p}" for p in unmapped(shared_memory() - self._shared_memory)]
        files = [f"file {path}" for path in sorted(self.temporary.iterdir())]
        return [*running, *segments, *files]

    def after(self, seconds: float) -> tuple[list[str], float]:
        """What is still there after ``seconds`` at most, and how long it took to go."""
        began = time.monotonic()
        while (left := self.now()) and time.monotonic() - began < seconds:
            time.sleep(0.1)
        return left, time.monotonic() - began

    def remove_abandoned(self) -> None:
        """What the start of the next server does first."""
        RunFolder(self.temporary).remove()

    def after_processes(self, seconds: float) -> float:
        """Wait for all processes to end; how long that took, in seconds."""
        began = time.monotonic()
        while self.processes() and time.monotonic() - began < seconds:
            time.sleep(0.1)
        return time.monotonic() - began

    def state_files(self) -> int:
        return sum(1 for path in self.state.rglob("*") if path.is_file())


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:80]
    except psutil.Error:
        return "(gone)"
