"""The whole terminal, while a command shows something that changes; it is given back always."""

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from rich.console import Console, RenderableType
from rich.live import Live

_QUIT = (b"q", b"Q")
_ESCAPE = b"\x1b"


class Event(Enum):
    """Why waiting on a screen came to an end."""

    TIME = "the time is up"
    RESIZE = "the terminal has another size"
    SUSPEND = "Ctrl-Z"
    QUIT = "a key, or the terminal is gone"


class Screen:
    """What :func:`screen` hands out."""

    def __init__(self, live: Live, keys: int | None, wake: int) -> None:
        self._live = live
        self._keys = keys
        self._wake = wake

    def show(self, renderable: RenderableType) -> None:
        self._live.update(renderable, refresh=True)

    def wait(self, seconds: float) -> Event:
        """Wait for the end of the time, a key or a signal."""
        until_s = time.monotonic() + seconds
        sources = [self._wake] if self._keys is None else [self._wake, self._keys]
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select(sources, [], [], left_s)
            if self._wake in ready:
                numbers = os.read(self._wake, 64)
                if signal.SIGTSTP in numbers:
                    return Event.SUSPEND
                if signal.SIGWINCH in numbers:
                    return Event.RESIZE
            elif ready and _means_quit(os.read(ready[0], 64)):
                return Event.QUIT
        return Event.TIME


def _means_quit(typed: bytes) -> bool:
    """Esc alone, or q; nothing typed is the end of the terminal. Arrow keys begin with Esc."""
    if typed.startswith(_ESCAPE):
        return typed == _ESCAPE
    return not typed or any(key in typed for key in _QUIT)


@contextmanager
def screen(console: Console) -> Iterator[Screen]:
    """Take the terminal of ``console`` over while the block runs."""
    with _keys() as keys, _signals() as wake:
        live = Live(console=console, screen=True, auto_refresh=False)
        with live:
            yield Screen(live, keys, wake)


def suspend() -> None:
    """Stop this process, as Ctrl-Z does, until the shell lets it go on."""
    os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def _keys() -> Iterator[int | None]:
    """Keys one by one, unseen; None where nobody types."""
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (OSError, ValueError, termios.error):
        yield None
        return
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that tells of signals while it is waited for."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handled = (signal.SIGWINCH, signal.SIGTSTP)
    # Python writes a signal's number only where there is a handler.
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    woken_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
