"""Where a machine's own measurements are kept.

Apart from what reads them (:mod:`hetctl.profiles.measured`): most machines have none, and its
classes take a while to build.
"""

import os
from pathlib import Path


def profile_path(fingerprint: str) -> Path:
    """Where the measurements of machines with this fingerprint are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "hetctl" / "machines" / f"{fingerprint}.json"
