"""Files of one JSON document per line that only grow.

Several processes may append at once, and one may be killed while it writes. So a line is
appended under a lock in one write, and a line that was cut short costs only itself: the next
writer starts a line of its own, and readers pass over it.
"""

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from hetctl.errors import HetctlError

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Journal(Generic[Entry]):
    """What a file holds, in the order it was written."""

    entries: tuple[Entry, ...]
    unreadable: tuple[str, ...] = ()
    """One sentence for each line that was passed over."""


def append_line(path: Path, document: str) -> None:
    """Add a line, unless the very same one is there; the folder is made where it is missing.

    Raises:
        HetctlError: the file cannot be written.
    """
    line = document.encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            # Closing the file releases the lock, also when the process is killed.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.readall()
            if line in before.splitlines(keepends=True):
                return
            # After a writer that was killed in mid-line, start a line of our own.
            torn = before and not before.endswith(b"\n")
            file.write(b"\n" + line if torn else line)
            os.fsync(file.fileno())
    except OSError as error:
        raise HetctlError(f"Cannot write {path}: {error.strerror}.") from error


def read_lines(path: Path, parse: Callable[[bytes], Entry]) -> Journal[Entry]:
    """Everything that can be read; empty when there is no file yet.

    Args:
        parse: Makes an entry of a line; raises ValueError, with the reason, where it cannot.

    Raises:
        HetctlError: the file is there but cannot be opened.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return Journal(())
    except OSError as error:
        raise HetctlError(f"Cannot read {path}: {error.strerror}.") from error
    entries: list[Entry] = []
    unreadable: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entries.append(parse(line))
        except ValueError as error:
            reason = str(error).rstrip(".")
            unreadable.append(f"{path}, line {number} was passed over: {reason}.")
    return Journal(tuple(entries), tuple(unreadable))
