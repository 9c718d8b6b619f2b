"""The folder for one server's sockets and its ranks' last words, gone when the server is.

hetctl removes it at the end. If hetctl itself is killed, the next run does: the folder's
lock tells that nobody uses it any more.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

_PREFIX = "hetctl-"
_LOCK = "lock"


class RunFolder:
    """A new folder, for this user only, that lives as long as its lock is held."""

    def __init__(self, parent: Path | None = None) -> None:
        where = parent or Path(tempfile.gettempdir())
        _remove_abandoned(where)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=where))
        self.lock = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        """A descriptor for the server to inherit: the lock is free once both have ended."""
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        # Only now may others find it: without its lock it would pass for abandoned.
        self.path = new.rename(where / new.name[1:])

    def remove(self) -> None:
        """Remove the folder; does nothing the second time."""
        if self.lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)
        self.lock = -1


def _remove_abandoned(where: Path) -> None:
    """Remove this user's run folders whose hetctl and server have both ended."""
    for folder in where.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            # A folder that another user made, or links to, may hold any file of ours as its lock.
            if folder.lstat().st_uid != os.getuid() or not stat.S_ISDIR(folder.lstat().st_mode):
                continue
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
