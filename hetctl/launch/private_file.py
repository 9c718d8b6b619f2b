"""Files that may hold what others are not to read: prompts, keys on a command line."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

OWNER_ONLY = 0o600
_FOLDER_OF_OWNER = 0o700


def open_private(path: Path) -> BinaryIO:
    """Empty ``path``, or make it, for its owner alone to read and write.

    Folders that are missing on the way are made for the owner alone, too; those that are there
    keep their modes, as does what is no plain file (``/dev/null``).

    Raises:
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
    # It may be an older one, whose mode opening does not change, or another user's.
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        with suppress(PermissionError):
            os.fchmod(descriptor, OWNER_ONLY)
    return os.fdopen(descriptor, "wb")


def make_folder(folder: Path) -> None:
    """Make a folder and those that are missing on the way for the owner alone.

    Unlike ``mkdir(parents=True)``, which gives the mode to the last one only.

    Raises:
        OSError: one of them cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=_FOLDER_OF_OWNER, exist_ok=True)
