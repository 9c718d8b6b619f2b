"""One log of everything a server says, and beside it one of each rank."""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from hetctl.launch.output.delivery import Delivery
from hetctl.launch.output.origin import Origins
from hetctl.launch.output.output import CLOSE_S, DRAIN_S
from hetctl.launch.output.pipe_reader import PipeReader
from hetctl.launch.output.record import Record
from hetctl.launch.output.rotating_log import DEFAULT_KEPT, DEFAULT_LIMIT_BYTES, RotatingLog
from hetctl.launch.output.split import NOWHERE, Log, Split


class RankLogs:
    """``serve-8000.log``, and ``serve-8000.rank-0.log``, ... with the lines of one rank each.

    The first holds every line as it came, without secrets. Each file is limited and the ones
    before it are kept (:class:`~hetctl.launch.output.rotating_log.RotatingLog`); a start begins
    new ones. A rank's is made with its first line. With a main log that is no file
    (``/dev/null``) there are none.

    Once it was opened, neither a full disk nor a slow ``on_record`` stops the server; what is lost
    is told of. The server's output does end with this process: a write then fails (EPIPE).

    Args:
        path: The main log.
        pipeline_parallel_size: Stages of the engine.
        tensor_parallel_size: Ranks of each stage.
        limit_bytes: Largest size of each file, at least 1,024.
        kept: Earlier files of each log.
        secrets: Not to be written, besides what looks like a secret
            (:func:`~hetctl.redact.secrets_of`, :func:`~hetctl.redact.secrets_of_arguments`).
        on_record: Called in order with what the server says and with hetctl's own events; while a
            server runs, on a thread of its own, where what it raises costs the record only.
    """

    def __init__(
        self,
        path: Path,
        *,
        pipeline_parallel_size: int = 1,
        tensor_parallel_size: int = 1,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        kept: int = DEFAULT_KEPT,
        secrets: Sequence[str] = (),
        on_record: Callable[[Record], None] | None = None,
    ) -> None:
        self.path = path
        self._sizes = (pipeline_parallel_size, tensor_parallel_size)
        self._limit_bytes = limit_bytes
        self._kept = kept
        self._secrets = tuple(secrets)
        self._on_record = on_record
        self._reader: PipeReader | None = None
        self._delivery: Delivery | None = None
        self._was_opened = False

    def rank_path(self, rank: int) -> Path:
        """The log of a rank, whether it exists or not."""
        return self.path.with_name(f"{self.path.stem}.rank-{rank}{self.path.suffix}")

    def open(self) -> int:
        """See :meth:`~hetctl.launch.output.output.Output.open`.

        Raises:
            OSError: the first start cannot write the main log. A later one runs without it, until
                it can be written.
        """
        self.close()
        logs = _Logs(self.path, self.rank_path, self._log)
        try:
            logs.begin()
        except OSError:
            if not self._was_opened:
                raise
        self._was_opened = True
        self._delivery = Delivery(self._on_record) if self._on_record else None
        deliver = self._delivery.put if self._delivery else None
        split = Split(logs.main, logs.of_rank, Origins(*self._sizes), self._secrets, deliver)

        def finish() -> None:
            self._guarded(split.finish)
            logs.close()

        self._reader = PipeReader(lambda data: self._guarded(lambda: split.receive(data)), finish)
        return self._reader.write_end

    def started(self) -> None:
        if self._reader is not None:
            self._reader.close_write_end()

    def drained(self, timeout_s: float = DRAIN_S) -> bool:
        return self._reader is None or self._reader.drained(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """See :meth:`~hetctl.launch.output.output.Output.close`; ``on_record`` has had all too."""
        if self._reader is not None:
            self._reader.close(timeout_s)
            self._reader = None
        if self._delivery is not None:
            self._delivery.close(timeout_s)
            self._delivery = None

    def note(self, record: Record) -> None:
        """Pass on a record of hetctl's own, after what the server said before it."""
        self._pass_on((record,))

    def _log(self, path: Path) -> RotatingLog:
        return RotatingLog(path, self._limit_bytes, self._kept, self.note)

    def _pass_on(self, records: Iterable[Record]) -> None:
        if self._delivery is not None:
            self._delivery.put(records)
        elif self._on_record is not None:
            for record in records:
                self._on_record(record)

    def _guarded(self, step: Callable[[], None]) -> None:
        # A reader that ended would end the server with it, so a bug in here costs some lines.
        try:
            step()
        except Exception as error:
            said = f"Lines of the server's output were lost by an error of hetctl: {error!r}."
            with suppress(Exception):
                self.note(Record.of_event("lines-lost", said, level="ERROR"))


class _Logs:
    """The logs of one start."""

    def __init__(
        self,
        path: Path,
        rank_path: Callable[[int], Path],
        log: Callable[[Path], RotatingLog],
    ) -> None:
        self.main = log(path)
        self._rank_path = rank_path
        self._log = log
        self._ranks: dict[int, RotatingLog] = {}

    def begin(self) -> None:
        """Set aside what an earlier server left, and make the main log.

        Raises:
            OSError: that cannot be done.
        """
        self.main.set_aside()
        for path in self._earlier():
            self._log(path).set_aside()
        self.main.open()

    def of_rank(self, rank: int) -> Log:
        """Its log, made by the first line."""
        if not self.main.is_regular:
            return NOWHERE
        if rank not in self._ranks:
            self._ranks[rank] = self._log(self._rank_path(rank))
        return self._ranks[rank]

    def close(self) -> None:
        for log in (self.main, *self._ranks.values()):
            log.close()

    def _earlier(self) -> list[Path]:
        """Also of ranks that this server has not: they would pass for its own."""
        before, after = (re.escape(part) for part in self._rank_path(0).name.rsplit("0", 1))
        name = re.compile(rf"{before}\d+{after}")
        with suppress(FileNotFoundError):
            return [path for path in self.main.path.parent.iterdir() if name.fullmatch(path.name)]
        return []
