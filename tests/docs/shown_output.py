"""What a ``console`` block shows of a command's output, held against what the command prints.

Lines are compared by their words: figures move with the planner and are not compared. With
``DOCS_REFRESH=1`` the tests write the figures of today into the pages.
"""

import re

from tests.docs.blocks import ROOT, Block

ANY_LINES = "..."
"""A line that stands for any lines, also for none."""


def aligned(shown: str, printed: str) -> list[str] | None:
    """The printed line for each line that is shown, or None where one is not printed.

    A line of :data:`ANY_LINES` is kept as it is.
    """
    return _aligned(shown.splitlines(), printed.splitlines())


def _aligned(shown: list[str], printed: list[str]) -> list[str] | None:
    if not shown:
        return None if printed else []
    if shown[0] == ANY_LINES:
        for skipped in range(len(printed) + 1):
            if (rest := _aligned(shown[1:], printed[skipped:])) is not None:
                return [ANY_LINES, *rest]
        return None
    if not printed or words(shown[0]) != words(printed[0]):
        return None
    rest = _aligned(shown[1:], printed[1:])
    return None if rest is None else [printed[0].rstrip(), *rest]


def words(line: str) -> str:
    """A line without what follows from figures: numbers, bars, and the width of columns."""
    return " ".join(re.sub(r"\d[\d.,]*|[░█]+", "0", line).split())


def refresh(block: Block, shown: str, lines: list[str]) -> None:
    """Put today's output in the place of what the page shows, at the indent that it has there."""
    page = ROOT / block.page
    text = page.read_text(encoding="utf-8")
    fence = text.splitlines()[block.line - 1]
    indent = fence[: len(fence) - len(fence.lstrip())]
    old, new = (
        "".join(f"{indent}{line}".rstrip() + "\n" for line in some)
        for some in (shown.splitlines(), lines)
    )
    assert text.count(old) == 1, block.place
    page.write_text(text.replace(old, new), encoding="utf-8")
