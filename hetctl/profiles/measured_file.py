"""Where a machine's own measurements are kept.

Apart from what reads them (:mod:`hetctl.profiles.measured`): most machines have none, and its
classes take a while to build.
"""

from pathlib import Path

from hetctl.cache import cache_folder

COMMAND = "hetctl probe --calibrate"
"""What makes them."""


def profile_path(fingerprint: str) -> Path:
    """Where the measurements of machines with this fingerprint are kept."""
    return cache_folder() / "machines" / f"{fingerprint}.json"


def has_others(fingerprint: str) -> bool:
    """Whether there are measurements, and none of a machine with this fingerprint."""
    path = profile_path(fingerprint)
    return not path.is_file() and any(path.parent.glob("*.json"))
