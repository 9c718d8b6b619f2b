"""Bytes as they come -> lines, with no more memory than one line may take."""

from typing import NamedTuple


class Line(NamedTuple):
    """A line, or the part of one that a progress bar wrote over."""

    content: bytes
    end: bytes
    r"""``\n``, ``\r\n``, ``\r`` where the next one goes over it, or nothing at the very end."""
    begins: bool
    r"""Whether a line begins here; what follows a ``\r`` goes on with one."""
    length_bytes: int
    """Of the content as it was written."""

    @property
    def is_cut(self) -> bool:
        return self.length_bytes > len(self.content)


class Lines:
    """Puts together what is written in pieces.

    Args:
        limit_bytes: Of a longer line only so much is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._pending = bytearray()
        self._left_out_bytes = 0
        self._begins = True

    def feed(self, data: bytes) -> list[Line]:
        """The lines that ``data`` completes."""
        # Only what follows tells a "\r" from the first half of "\r\n".
        is_open = self._pending.endswith(b"\r")
        self._pending += data
        if not is_open and b"\n" not in data and b"\r" not in data:
            self._forget_overlong()
            return []
        # For bytes, "\n", "\r" and "\r\n" end a line and nothing else does.
        whole = bytes(self._pending).splitlines(keepends=True)
        self._pending = bytearray()
        if not whole[-1].endswith(b"\n"):
            self._pending += whole.pop()
            lines = [self._line(line) for line in whole]
            self._forget_overlong()
            return lines
        return [self._line(line) for line in whole]

    def end(self) -> list[Line]:
        """What was begun and never ended."""
        rest = bytes(self._pending)
        self._pending.clear()
        return [self._line(rest)] if rest else []

    def _line(self, line: bytes) -> Line:
        if line.endswith(b"\r\n"):
            content, end = line[:-2], b"\r\n"
        elif line.endswith((b"\n", b"\r")):
            content, end = line[:-1], line[-1:]
        else:
            content, end = line, b""
        length_bytes = len(content) + self._left_out_bytes
        begins, self._begins = self._begins, end != b"\r"
        self._left_out_bytes = 0
        return Line(content[: self._limit_bytes], end, begins, length_bytes)

    def _forget_overlong(self) -> None:
        over = len(self._pending) - self._limit_bytes
        if over <= 0:
            return
        # Kept, since it may end the line.
        end = b"\r" if self._pending.endswith(b"\r") else b""
        del self._pending[self._limit_bytes :]
        self._pending += end
        self._left_out_bytes += over - len(end)
