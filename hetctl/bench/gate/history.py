"""Results kept over commits: one line of JSON each, in a file that only grows.

Several jobs may write at once, and a job may be killed while it writes. So a line is
appended under a lock in one write, and a line that cannot be read is passed over and
reported, not trusted and not removed.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from hetctl.bench.gate.comparability import Measured
from hetctl.bench.metrics import ALL_METRICS
from hetctl.bench.results import Load, Versions
from hetctl.document import Frozen
from hetctl.errors import HetctlError

HISTORY_FILE = "history.jsonl"


class Entry(Frozen):
    """One configuration, measured at one commit."""

    kind: Literal["hetctl.history"] = "hetctl.history"
    schema_version: Literal[1] = 1
    git_commit: str | None
    started: AwareDatetime
    """When the first run started."""
    fingerprint: str
    """Of the machine."""
    model: str
    configuration: str
    load: Load
    versions: Versions
    figures: dict[str, tuple[float, ...]] = Field(min_length=1)
    """One figure per run, by metric; in base units."""


@dataclass(frozen=True)
class History:
    """What a history file holds, in the order it was written."""

    entries: tuple[Entry, ...]
    unreadable: tuple[str, ...] = ()
    """One sentence for each line that was passed over."""


def entry_of(measured: Measured) -> Entry:
    """What the history keeps of a measurement."""
    environment = measured.results.environment
    return Entry(
        git_commit=environment.git_commit,
        started=measured.runs[0].started,
        fingerprint=environment.machine.fingerprint,
        model=measured.results.model,
        configuration=measured.configuration.name,
        load=measured.results.offered_load,
        versions=environment.versions,
        figures={
            metric.key: tuple(metric.of(run.measurement) for run in measured.runs)
            for metric in ALL_METRICS
        },
    )


def append(folder: Path, entry: Entry) -> None:
    """Add an entry, unless the very same one is there (a job that ran twice).

    Raises:
        HetctlError: the file cannot be written.
    """
    path = folder / HISTORY_FILE
    line = entry.model_dump_json().encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
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


def read(folder: Path) -> History:
    """Everything that can be read; empty when there is no history yet.

    Raises:
        HetctlError: the file is there but cannot be opened.
    """
    path = folder / HISTORY_FILE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return History(())
    except OSError as error:
        raise HetctlError(f"Cannot read {path}: {error.strerror}.") from error
    entries: list[Entry] = []
    unreadable: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            what = error.errors(include_url=False)[0]["msg"]
            unreadable.append(f"{path}, line {number} was passed over: {what}.")
    return History(tuple(entries), tuple(unreadable))
