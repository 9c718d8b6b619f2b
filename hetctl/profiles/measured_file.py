"""Where a machine's own measurements are kept.

Apart from what reads them (:mod:`hetctl.profiles.measured`): most machines have none, and its
classes take a while to build.
"""

from pathlib import Path

from hetctl.cache import cache_folder


def profile_path(fingerprint: str) -> Path:
    """Where the measurements of machines with this fingerprint are kept."""
    return cache_folder() / "machines" / f"{fingerprint}.json"
