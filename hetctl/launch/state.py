"""Where servers' logs stay."""

import os
from pathlib import Path


def state_folder() -> Path:
    """``hetctl`` in the user's folder for state, whether it exists or not."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "hetctl"
