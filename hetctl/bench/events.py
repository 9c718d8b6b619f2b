"""What a comparison tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import FailedRun, Run
from hetctl.bench.schedule import Coming

Phase = Literal["server", "prepare", "warm-up", "load", "stop"]


@dataclass(frozen=True)
class Advanced:
    """A run is in this phase, and this far."""

    configuration: str
    repeat: int
    phase: Phase
    done: int = 0
    total: int = 0
    """0 when the length of the phase is not known."""
    detail: str = ""
    point: str = ""
    """Empty while the phase belongs to the server, which all points share."""


@dataclass(frozen=True)
class Measured:
    """A run gave figures; they are saved."""

    run: Run
    left: tuple[Coming, ...]
    """What is still to come."""


@dataclass(frozen=True)
class Failed:
    """A run gave none, and is not tried again."""

    failure: FailedRun
    left: tuple[Coming, ...]
    """What is still to come."""


Event = Advanced | Measured | Failed
OnEvent = Callable[[Event], None]
