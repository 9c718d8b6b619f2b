"""The reading end of a pipe that other processes write their output into."""

import fcntl
import os
import select
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

_READ_BYTES = 64 * 1024
_PIPE_BYTES = 1024**2
"""Room for what is written while the reader waits for a disk; the most that Linux gives a user."""
_LEAVE_S = 1.0
"""For what is in the pipe, when the reader is to leave writers behind."""


class _Question(NamedTuple):
    """Whether all that was written until now has been read."""

    answered: threading.Event
    is_last: bool


class PipeReader:
    """Passes on what comes out of a pipe, on a thread of its own, until its last writer is gone.

    Args:
        receive: Called with each piece as it comes; must not raise.
        finish: Called once on the same thread, after the last piece.
    """

    def __init__(self, receive: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        self._receive = receive
        self._finish = finish
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC)
        self.write_end = write_end
        self._holds_write_end = True
        # For the reader alone: a child must not find its own output non-blocking.
        os.set_blocking(self._read_end, False)
        with suppress(OSError):
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._questions: list[_Question] = []
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="log-reader", daemon=True)
        self._thread.start()

    def close_write_end(self) -> None:
        """Our own writing end, without which the end of the others' is seen."""
        if self._holds_write_end:
            self._holds_write_end = False
            os.close(self.write_end)

    def drained(self, timeout_s: float) -> bool:
        """Wait until what was written before this call has been received; False if too late."""
        return self._ask(is_last=False).wait(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Wait for the last writer, ``timeout_s`` seconds at most; then receive no more."""
        self.close_write_end()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._ask(is_last=True)
            self._thread.join(_LEAVE_S)

    def _ask(self, is_last: bool) -> threading.Event:
        question = _Question(threading.Event(), is_last)
        with self._lock:
            if self._is_over:
                question.answered.set()
            else:
                self._questions.append(question)
                os.eventfd_write(self._wake, 1)
        return question.answered

    def _run(self) -> None:
        try:
            self._read_to_the_end()
            self._finish()
        finally:
            with self._lock:
                self._is_over = True
                os.close(self._read_end)
                os.close(self._wake)
            for question in self._questions:
                question.answered.set()

    def _read_to_the_end(self) -> None:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        read_bytes = 0
        due: list[tuple[int, _Question]] = []
        while True:
            poll.poll()
            # Asked before reading on: a writer that never pauses must not put off the answer.
            due += [(read_bytes + self._unread_bytes(), question) for question in self._asked()]
            with suppress(BlockingIOError):
                data = os.read(self._read_end, _READ_BYTES)
                if not data:
                    return
                self._receive(data)
                read_bytes += len(data)
            for at, question in due:
                if read_bytes >= at:
                    question.answered.set()
                    if question.is_last:
                        return
            due = [(at, question) for at, question in due if read_bytes < at]

    def _asked(self) -> list[_Question]:
        with self._lock:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            asked, self._questions = self._questions, []
            return asked

    def _unread_bytes(self) -> int:
        answer = fcntl.ioctl(self._read_end, termios.FIONREAD, bytes(4))
        return int.from_bytes(answer, "little")
