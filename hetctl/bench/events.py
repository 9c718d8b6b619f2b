"""What a comparison tells while it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import FailedRun, Run

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


@dataclass(frozen=True)
class Measured:
    """A run gave figures; they are saved."""

    run: Run


@dataclass(frozen=True)
class Failed:
    """A run gave none, and its configuration will not run again."""

    failure: FailedRun


Event = Advanced | Measured | Failed
OnEvent = Callable[[Event], None]
