"""The servers that this user's ``hetctl serve`` runs now, one record each in the state folder."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from hetctl.errors import UsageError
from hetctl.launch.state import state_folder
from hetctl.server_record import ServerRecord


def records_folder() -> Path:
    """Where the records are, whether it exists or not."""
    return state_folder() / "servers"


@contextmanager
def published(record: ServerRecord) -> Iterator[None]:
    """Let other commands find the server while the block runs.

    Raises:
        HetctlError: the record cannot be written.
    """
    path = records_folder() / f"{record.pid}.json"
    record.save(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running_servers() -> tuple[ServerRecord, ...]:
    """The servers whose ``hetctl serve`` lives, the oldest first; removes what others left."""
    found = []
    for path in records_folder().glob("*.json"):
        # Half a record, or one of another version of hetctl, is not ours to remove.
        with contextlib.suppress(UsageError):
            record = ServerRecord.load(path)
            if _lives(record):
                found.append(record)
            else:
                path.unlink(missing_ok=True)
    return tuple(sorted(found, key=lambda record: record.started))


def _lives(record: ServerRecord) -> bool:
    try:
        created_s: float = psutil.Process(record.pid).create_time()
    except psutil.Error:
        return False
    # Told in ticks of a clock of which a change of the date moves the start.
    return abs(created_s - record.pid_created_s) < 2.0
