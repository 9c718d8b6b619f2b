"""The user's folder for what hetctl learned about machines."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``~/.cache/hetctl``, or in ``XDG_CACHE_HOME``; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "hetctl"
