"""The page on troubleshooting has every check of the doctor and every way that a server ends."""

import re

from hetctl.doctor.checks import FAST
from tests.docs.blocks import ROOT, inline_code

PAGE = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")


def test_every_check_is_there() -> None:
    checks = {(check.group, check.name) for check in FAST}
    # Those that start processes have no entry in FAST.
    checks |= {("two ranks", name) for name in ("platform", "kernels load", "pinned memory")}
    checks |= {("two ranks", name) for name in ("Gloo", "shared memory", "round trip")}
    checks |= {("engine", "demo model")}
    assert {f"{group}: {name}" for group, name in checks if f"{group}: {name}" not in PAGE} == set()


def test_every_message_of_a_failure_is_there() -> None:
    """In the words of the page on failures, as far as they are the same each time."""
    message = re.compile(r"Rank \d|/dev/shm has|\.\.\. was killed")
    told = [code for _, code in inline_code("docs/runtime/failure.md") if message.match(code)]
    assert len(told) > 6
    here = {shape(code) for _, code in inline_code("docs/troubleshooting.md")}
    assert {code for code in told if not any(one.startswith(shape(code)) for one in here)} == set()


def shape(message: str) -> str:
    """Without the numbers, and up to where a message goes on as it likes."""
    return re.sub(r"\d+", "N", re.sub(r"\.\.\.$|: \.\.\..*", "", message)).strip()
