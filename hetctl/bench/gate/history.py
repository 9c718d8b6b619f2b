"""Results kept over commits: one line of JSON each, in a file that only grows."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from hetctl.bench.gate.comparability import Measured
from hetctl.bench.metrics import ALL_METRICS
from hetctl.bench.results import Load, Versions
from hetctl.document import Frozen
from hetctl.journal import Journal, append_line, read_lines

HISTORY_FILE = "history.jsonl"


class Entry(Frozen):
    """One configuration, measured at one commit."""

    kind: Literal["hetctl.history"] = "hetctl.history"
    schema_version: Literal[1] = 1
    git_commit: str | None
    """That was measured."""
    started: AwareDatetime
    """When the first run started."""
    fingerprint: str
    """Of the machine."""
    model: str
    """Folder or hub id."""
    configuration: str
    """Which one was measured."""
    load: Load
    """What it was sent."""
    versions: Versions
    figures: dict[str, tuple[float, ...]] = Field(min_length=1)
    """One figure per run, by metric; in base units."""


History = Journal[Entry]
"""What a history file holds."""


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
    append_line(folder / HISTORY_FILE, entry.model_dump_json())


def read(folder: Path) -> History:
    """Everything that can be read; empty when there is no history yet.

    Raises:
        HetctlError: the file is there but cannot be opened.
    """
    return read_lines(folder / HISTORY_FILE, _parse)


def _parse(line: bytes) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False)[0]["msg"]) from error
