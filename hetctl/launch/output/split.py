"""What one start of a server says -> the lines of its logs, and records."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from hetctl.launch.output.lines import Line, Lines
from hetctl.launch.output.origin import NOBODY, Origins
from hetctl.launch.output.record import Record
from hetctl.redact import redact

LINE_BYTES = 256 * 1024
"""A longer line is cut. What vLLM says of its scheduler as it fails is shorter."""
_SECRET_BYTES = 4096
"""A secret that was cut in two is not known as one, so a cut line ends so much before the cut."""
_HELD_BYTES = 256 * 1024
"""Of what ranks say before they know which one they are; a start says less than a tenth."""


class Log(Protocol):
    """Takes whole lines, and never raises."""

    def write(self, lines: Sequence[bytes]) -> None: ...


class _Nowhere:
    def write(self, lines: Sequence[bytes]) -> None:
        pass


NOWHERE: Log = _Nowhere()


class Split:
    """Gives each line to the main log, to its rank's, and as a record to whom asked for it.

    A rank's log also gets what its process said while its name was still ``Worker``.

    Args:
        rank_log: The log of a rank.
        secrets: What must not be written, besides what looks like a secret.
        deliver: Called with the records of each piece; None where nobody wants any.
    """

    def __init__(
        self,
        main: Log,
        rank_log: Callable[[int], Log],
        origins: Origins,
        secrets: Sequence[str],
        deliver: Callable[[Iterable[Record]], None] | None,
    ) -> None:
        self._main = main
        self._rank_log = rank_log
        self._origins = origins
        self._secrets = secrets
        self._deliver = deliver
        self._lines = Lines(LINE_BYTES)
        self._origin = NOBODY
        self._held: dict[int, list[bytes]] = {}
        self._held_bytes = 0

    def receive(self, data: bytes) -> None:
        """What came out of the pipe."""
        self._write(self._lines.feed(data))

    def finish(self) -> None:
        """A last line without an end."""
        self._write(self._lines.end())

    def _write(self, lines: list[Line]) -> None:
        now = datetime.now(UTC)
        main: list[bytes] = []
        ranks: dict[int, list[bytes]] = {}
        records: list[Record] = []
        for line in lines:
            text = self._text(line)
            origin, at = self._origins.of(text)
            if line.begins or origin is not NOBODY:
                self._origin = origin
            else:
                origin = self._origin
            # Bytes that are no UTF-8 are written as they came.
            whole = text.encode("utf-8", "surrogateescape") + line.end
            main.append(whole)
            if origin.rank is not None:
                of_rank = ranks.setdefault(origin.rank, [])
                if origin.pid in self._held:
                    of_rank += self._release(origin.pid)
                of_rank.append(whole)
            elif origin.is_unnamed_worker and origin.pid is not None:
                self._hold(origin.pid, whole)
            if self._deliver is not None and line.end != b"\r":
                record = Record.of_line(text[at:], now, origin)
                if record.message and not record.message.isspace():
                    records.append(record)
        self._main.write(main)
        for rank, of_rank in ranks.items():
            self._rank_log(rank).write(of_rank)
        if self._deliver is not None and records:
            self._deliver(records)

    def _text(self, line: Line) -> str:
        text = redact(line.content.decode("utf-8", "surrogateescape"), self._secrets)
        if not line.is_cut:
            return text
        return f"{text[:-_SECRET_BYTES]} [hetctl: cut, the line had {line.length_bytes} bytes]"

    def _hold(self, pid: int, line: bytes) -> None:
        if self._held_bytes + len(line) <= _HELD_BYTES:
            self._held_bytes += len(line)
            self._held.setdefault(pid, []).append(line)

    def _release(self, pid: int | None) -> list[bytes]:
        lines = self._held.pop(pid, []) if pid is not None else []
        self._held_bytes -= sum(map(len, lines))
        return lines
