"""What a check finds, and the document that holds all findings."""

from typing import ClassVar, Literal, Self

from pydantic import NonNegativeFloat, model_validator

from hetctl.document import Document, Frozen

Status = Literal["pass", "warn", "fail", "skipped"]


class Outcome(Frozen):
    """The answer of one check.

    ``fail``: something that hetctl does will not work here. ``warn``: it will, slower or with
    less. ``skipped``: there is nothing to check here, and the detail says why.
    """

    status: Status
    detail: str
    """What was found, with the value."""
    remedy: str = ""
    """What to do about it: one sentence, for warn and fail."""

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Self:
        if (self.status in ("warn", "fail")) != bool(self.remedy):
            raise ValueError("warn and fail have a remedy, and no other outcome has one")
        return self


class Finding(Outcome):
    """An outcome with the name of its check."""

    group: str
    """The heading that the check is under."""
    name: str
    """What was checked."""
    seconds: NonNegativeFloat = 0.0
    """How long the check took."""


class Diagnosis(Document):
    """Everything that the doctor found."""

    KIND: ClassVar[str] = "hetctl.doctor"

    findings: tuple[Finding, ...]
    """One per check, in the order of the report."""

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(finding.status == status for finding in self.findings)

    @property
    def healthy(self) -> bool:
        """Whether nothing failed."""
        return self.count("fail") == 0


def passed(detail: str) -> Outcome:
    return Outcome(status="pass", detail=detail)


def skipped(why: str) -> Outcome:
    return Outcome(status="skipped", detail=why)


def warned(detail: str, remedy: str) -> Outcome:
    return Outcome(status="warn", detail=detail, remedy=remedy)


def failed(detail: str, remedy: str) -> Outcome:
    return Outcome(status="fail", detail=detail, remedy=remedy)
