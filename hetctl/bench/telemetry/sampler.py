"""Reads every source at intervals, in a thread beside the run, into a CSV file."""

import csv
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hetctl.bench.telemetry.source import Source
from hetctl.errors import HetctlError

INTERVAL_S = 1.0
CPU_SHARE = 0.005
"""Of one CPU: a reading that takes longer than this share of the interval makes the next one
wait. Many cores and GPUs take longer to ask, and the load must not notice."""
TIME, PHASE = "time_s", "phase"


class Sampler:
    """One file for one run; a context manager.

    A row's means cover the time since the row before, and its phase is the one that this
    time belongs to: a new phase begins with a row that closes the last one.
    """

    def __init__(
        self, sources: Sequence[Source], path: Path, interval_s: float = INTERVAL_S
    ) -> None:
        self._sources = list(sources)
        self._path = path
        self._interval_s = interval_s
        self._phase = "idle"
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._file: IO[str] | None = None
        self._wait_s = interval_s
        self._notes: list[str] = []
        self.cpu_s = 0.0
        """CPU time that the readings took so far."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read, one sentence each."""
        found = [note for source in self._sources for note in source.notes]
        return tuple(dict.fromkeys((*found, *self._notes)))

    def __enter__(self) -> Self:
        """Take a first row, before anything runs, and begin.

        Raises:
            HetctlError: the file cannot be written.
        """
        columns = [column for source in self._sources for column in source.columns]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise HetctlError(f"Cannot write {self._path}: {error.strerror}.") from error
        # Missing figures are empty cells.
        self._writer = csv.DictWriter(
            self._file, [TIME, PHASE, *columns], restval="", lineterminator="\n"
        )
        self._writer.writeheader()
        self._sample()
        self._thread.start()
        return self

    def enter_phase(self, phase: str) -> None:
        """What follows belongs to ``phase``; does nothing if it is the phase already."""
        if phase != self._phase:
            self._sample()
            self._phase = phase

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()
        for source in self._sources:
            source.close()
        if self._file is not None:
            self._file.close()

    def _run(self) -> None:
        while not self._ended.wait(self._wait_s):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            began_s = time.thread_time()
            row: dict[str, object] = {TIME: f"{time.time():.3f}", PHASE: self._phase}
            for source in self._sources:
                row |= {name: _cell(value) for name, value in self._read(source).items()}
            assert self._file is not None
            try:
                self._writer.writerow(row)
                self._file.flush()
            except OSError as error:
                self._note(f"Telemetry ends early: {self._path}: {error.strerror}.")
            cost_s = time.thread_time() - began_s
            self.cpu_s += cost_s
            self._wait_s = max(self._interval_s, cost_s / CPU_SHARE)

    def _read(self, source: Source) -> dict[str, float]:
        """A source that breaks is named once and left out: the run matters more."""
        try:
            found = source.read()
        except Exception as error:
            self._note(f"{type(source).__name__} failed during the run: {error!r}.")
            return {}
        known = set(source.columns)
        return {name: value for name, value in found.items() if name in known}

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _cell(value: float) -> float:
    """Four decimals: enough for joules and shares of a second."""
    return int(value) if value.is_integer() else round(value, 4)
