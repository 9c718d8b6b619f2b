"""A log file of limited size that outlives full disks."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hetctl.launch.output.record import Record
from hetctl.launch.private_file import OWNER_ONLY, make_folder

DEFAULT_LIMIT_BYTES = 64 * 1024**2
DEFAULT_KEPT = 5
LEAST_LIMIT_BYTES = 1024
_AGAIN_S = 1.0
"""So often a log that could not be written is tried again, and a file looked for at its path."""
# A named pipe without a reader, or with a slow one, is an error and no reason to wait.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class RotatingLog:
    """``serve.log``, and before it ``serve.log.1``, ``serve.log.2``, ... as far as they are kept.

    As :class:`logging.handlers.RotatingFileHandler` does it: before a line that would make the file
    larger than its limit, the file becomes ``.1`` and the last one goes. What is no regular
    file, ``/dev/null`` say, is written without a limit.

    :meth:`write` never raises. What cannot be written is lost, as ``on_trouble`` is told when that
    begins and when it ends; where it ends, a line in the log says how much is missing.

    Args:
        limit_bytes: Largest size of each file.
        kept: So many earlier files stay.
        on_trouble: Called with the events ``log-unwritable`` and ``log-writable``.

    Raises:
        ValueError: a limit of less than 1,024 bytes, or a negative number of files.
    """

    def __init__(
        self, path: Path, limit_bytes: int, kept: int, on_trouble: Callable[[Record], None]
    ) -> None:
        if limit_bytes < LEAST_LIMIT_BYTES or kept < 0:
            raise ValueError(f"no log has {limit_bytes} bytes and {kept} earlier files")
        self.path = path
        # A link stays one: its target is what rotates.
        self._real = Path(os.path.realpath(path))
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._on_trouble = on_trouble
        self._descriptor: int | None = None
        self.is_regular = True
        self._size_bytes = 0
        self._ends_line = True
        self._lost_bytes = 0
        self._reason = ""
        self._again_at = 0.0

    def set_aside(self) -> None:
        """What is there from before becomes ``.1``, so that the file is this server's alone.

        Raises:
            OSError: it cannot be renamed.
        """
        self.close()
        number = self._kept + 1
        while self._numbered(number).exists():
            self._numbered(number).unlink()
            number += 1
        with suppress(FileNotFoundError):
            status = self._real.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size > 0:
                self._shift()

    def open(self) -> None:
        """Make the file; :meth:`write` does so by itself.

        Raises:
            OSError: it cannot be made or written.
        """
        make_folder(self._real.parent)
        self._descriptor = descriptor = os.open(self._real, _FLAGS, OWNER_ONLY)
        status = os.fstat(descriptor)
        self.is_regular = stat.S_ISREG(status.st_mode)
        self._size_bytes = status.st_size if self.is_regular else 0
        if self.is_regular:
            with suppress(PermissionError):
                os.fchmod(descriptor, OWNER_ONLY)

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, each with its end; one longer than a file is divided among several."""
        for block in self._blocks(lines):
            self._append(block)

    def close(self) -> None:
        if self._descriptor is not None:
            # Some file systems tell only now that a disk is full.
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _blocks(self, lines: Sequence[bytes]) -> Iterator[bytes]:
        """Whole lines, together no more than a file holds, the first ones what this one holds."""
        data = b"".join(lines)
        if not self.is_regular or self._size_bytes + len(data) <= self._limit_bytes:
            if data:
                yield data
            return
        block = bytearray()
        room = self._limit_bytes - self._size_bytes
        for line in lines:
            for start in range(0, len(line), self._limit_bytes):
                part = line[start : start + self._limit_bytes]
                if block and len(block) + len(part) > room:
                    yield bytes(block)
                    block.clear()
                    room = self._limit_bytes
                block += part
        if block:
            yield bytes(block)

    def _append(self, block: bytes) -> None:
        now = time.monotonic()
        if self._lost_bytes and now < self._again_at:
            self._lost_bytes += len(block)
            return
        try:
            if now >= self._again_at:
                self._again_at = now + _AGAIN_S
                self._find_file()
            if self._lost_bytes:
                self._tell_what_is_missing()
        except OSError as error:
            self._lose(len(block), error)
            return
        unwritten = memoryview(block)
        try:
            self._make_room(len(block))
            while unwritten:
                unwritten = unwritten[self._put(unwritten) :]
        except OSError as error:
            self._lose(len(unwritten), error)

    def _put(self, data: bytes | memoryview) -> int:
        """Write, as far as it goes, and return how far that is."""
        assert self._descriptor is not None
        written = os.write(self._descriptor, data)
        self._size_bytes += written
        self._ends_line = data[written - 1] == ord("\n")
        return written

    def _make_room(self, length_bytes: int) -> None:
        is_full = self._size_bytes + length_bytes > self._limit_bytes
        if self.is_regular and is_full and self._size_bytes > 0:
            self.close()
            self._shift()
        if self._descriptor is None:
            self.open()

    def _find_file(self) -> None:
        """A file that was removed or renamed is made anew, or its lines would go nowhere."""
        if self._descriptor is None:
            self.open()
        elif self.is_regular:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._real.stat(), os.fstat(self._descriptor)):
                    return
            self.close()
            self.open()

    def _shift(self) -> None:
        """The file becomes ``.1``, and so on; done half, it is taken up where it ended."""
        for number in range(self._kept, 0, -1):
            earlier = self._numbered(number - 1)
            with suppress(FileNotFoundError):
                earlier.replace(self._numbered(number))
        if self._kept == 0:
            self._real.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._real.with_name(f"{self._real.name}.{number}") if number else self._real

    def _lose(self, length_bytes: int, error: OSError) -> None:
        if not self._lost_bytes:
            self._reason = error.strerror or str(error)
            self._on_trouble(
                Record.of_event(
                    "log-unwritable",
                    f"Cannot write {self.path}: {self._reason}; what the server says is lost "
                    "until that changes.",
                    level="WARNING",
                    path=str(self.path),
                )
            )
        self._lost_bytes += length_bytes
        self._again_at = time.monotonic() + _AGAIN_S

    def _tell_what_is_missing(self) -> None:
        lost_bytes = self._lost_bytes
        torn = b"" if self._ends_line else b"\n"
        note = f"[hetctl: {lost_bytes} bytes are missing here: {self._reason}]\n".encode()
        self._make_room(len(torn + note))
        self._put(torn + note)
        self._lost_bytes = 0
        self._on_trouble(
            Record.of_event(
                "log-writable",
                f"{self.path} can be written again; {lost_bytes} bytes of it are missing.",
                path=str(self.path),
                lost_bytes=lost_bytes,
            )
        )
