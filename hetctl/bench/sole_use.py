"""One benchmark at a time in a folder of results."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hetctl.errors import HetctlError, UsageError


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Hold the folder, which is created if need be, while the block runs.

    The hold ends with the process, however that ends.

    Raises:
        UsageError: another process holds it.
        HetctlError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise HetctlError(f"Cannot use the folder {folder}: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another hetctl bench is at work in {folder}; wait for its end, or choose "
                "another folder."
            ) from error
        yield
    finally:
        os.close(descriptor)
