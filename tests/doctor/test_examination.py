"""Checks run side by side; one that hangs or breaks harms no other."""

from threading import Barrier, Event

import pytest
from pydantic import ValidationError

from hetctl.doctor.check import Check, Surroundings
from hetctl.doctor.diagnosis import Outcome, passed, warned
from hetctl.doctor.examination import examine
from hetctl.errors import UsageError
from tests.doctor.surroundings import surroundings

NEVER = Event()


def hangs(around: Surroundings) -> Outcome:
    NEVER.wait()
    return passed("")


def fine(around: Surroundings) -> Outcome:
    return passed("fine")


def test_a_check_that_never_answers_fails_with_what_it_waited_for() -> None:
    told: list[str] = []
    checks = [
        Check("a", "slow", hangs, waits_for="the moon", timeout_s=1.0),
        Check("a", "fine", fine),
    ]
    slow, other = examine(checks, surroundings(), told.append)
    assert (slow.status, slow.detail) == ("fail", "no answer from the moon in 1 s")
    assert other.status == "pass"
    assert told == ["waiting for the moon"]


def test_checks_run_side_by_side() -> None:
    all_at_once = Barrier(8)

    def meets_the_others(around: Surroundings) -> Outcome:
        all_at_once.wait(30)
        return passed("met")

    checks = [Check("a", f"{n}", meets_the_others, timeout_s=60) for n in range(8)]
    assert {finding.detail for finding in examine(checks, surroundings())} == {"met"}


def test_a_check_may_say_what_no_answer_means() -> None:
    late = warned("nobody answered", "Ask again.")
    (finding,) = examine([Check("a", "b", hangs, timeout_s=0.1, late=late)], surroundings())
    assert (finding.status, finding.detail) == ("warn", "nobody answered")


def test_a_broken_check_is_told_and_an_expected_error_too() -> None:
    def breaks(around: Surroundings) -> Outcome:
        raise ZeroDivisionError("by nought")

    def refuses(around: Surroundings) -> Outcome:
        raise UsageError("The file is wrong.")

    bug, error = examine([Check("a", "b", breaks), Check("a", "c", refuses)], surroundings())
    assert bug.detail == "the check itself failed: ZeroDivisionError: by nought"
    assert (error.status, error.detail) == ("fail", "The file is wrong.")


def test_whatever_is_wrong_has_a_remedy() -> None:
    with pytest.raises(ValidationError):
        Outcome(status="warn", detail="slow")
    with pytest.raises(ValidationError):
        Outcome(status="pass", detail="fine", remedy="Nothing.")
