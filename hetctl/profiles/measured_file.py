"""Where a machine's own measurements are kept.

Apart from what reads them (:mod:`hetctl.profiles.measured`): most machines have none, and its
classes take a while to build.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hetctl.machine import Machine

COMMAND = "hetctl probe --calibrate"
"""What makes them."""


def profile_path(fingerprint: str) -> Path:
    """Where the measurements of machines with this fingerprint are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "hetctl" / "machines" / f"{fingerprint}.json"


def measured_note(machine: "Machine") -> str:
    """One line on the machine's measurements: how old they are, or why there are none."""
    path = profile_path(machine.fingerprint)
    if not path.is_file():
        foreign = any(path.parent.glob("*.json"))
        there = "those in the cache are of other machines; " if foreign else ""
        return f"none, {there}{COMMAND} takes under 3 minutes"
    from datetime import UTC, datetime

    from hetctl.errors import UsageError
    from hetctl.profiles.measured import with_measurements

    try:
        notes = with_measurements(machine).rate_notes
    except UsageError as error:
        return f"not usable: {error}"
    when = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return " ".join((f"{when:%Y-%m-%d}.", *notes))
