"""A check, and what checks look at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hetctl.doctor.diagnosis import Outcome
from hetctl.machine import Machine
from hetctl.probe.files import Files


@dataclass(frozen=True)
class Surroundings:
    """What checks look at; a test gives recorded ones."""

    machine: Machine
    files: Files
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Check:
    """One question to the machine.

    Attributes:
        group: The heading that it is listed under.
        name: What is checked.
        run: Answers; may take as long as it likes.
        waits_for: What it may wait for, as the object of a sentence.
        timeout_s: Longest wait for the answer; then the check failed, or
        late: is the outcome.
    """

    group: str
    name: str
    run: Callable[[Surroundings], Outcome]
    waits_for: str = "the kernel"
    timeout_s: float = 5.0
    late: Outcome | None = None
