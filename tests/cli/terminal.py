"""A command in a terminal of its own, as a user sees and drives it."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from typing import Any, Self

WAIT_S = 30
ALTERNATE, BACK = "\x1b[?1049h", "\x1b[?1049l"
"""Into the terminal's other screen, and out of it."""


class Terminal:
    """Runs ``command``; everything it prints is in ``text``."""

    def __init__(self, *command: str, columns: int = 80, rows: int = 24, **env: str) -> None:
        self._command = command
        self._env = {**os.environ, "TERM": "xterm-256color", **env}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            self._env.pop(name, None)
        self._master, self._slave = pty.openpty()
        self.resize(columns, rows)
        self.before = self.settings()
        self.text = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=self._env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._slave)
        self._reader.join(WAIT_S)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._master, 65536)
            except OSError:
                return
            if not read:
                return
            self.text += read.decode(errors="replace")

    def settings(self) -> list[Any]:
        """Of the terminal: what it echoes, and whether keys come one by one."""
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until ``text`` was printed so many times."""
        deadline = time.monotonic() + WAIT_S
        while self.text.count(text) < times:
            assert time.monotonic() < deadline, self.text[-3000:]
            assert self.process.poll() is None or self.text.count(text) >= times, self.text[-3000:]
            time.sleep(0.02)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(WAIT_S)
        time.sleep(0.05)  # The reader is a moment behind.
        return code
