"""The code blocks and the inline commands of the documentation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("bash", "console")
"""Languages whose blocks are run."""
DATA = ("json", "toml", "yaml")
"""Languages whose blocks are parsed."""
LANGUAGES = (*SHELL, *DATA, "ini", "text")

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    """From the repository's root."""
    line: int
    """Of the fence, from 1."""
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[tuple[str, str | None]]:
        """What is to be run, one script after the other, and what each must print.

        A ``bash`` block is one script, and prints what it likes. In a ``console`` block, lines
        that begin with ``$`` are commands; a backslash at the end goes on in the next line.
        """
        if self.language == "bash":
            return [(self.text, None)]
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert not parts[0].strip(), f"{self.place} begins with what no command printed"
        found = []
        for part in parts[1:]:
            command, shown = re.fullmatch(r"((?:.*\\\n)*.*)\n?((?:.|\n)*)", part).groups()
            found.append((command, shown))
        return found


def pages() -> list[str]:
    """Every page that shows commands."""
    documents = sorted((ROOT / "docs").rglob("*.md"))
    return [
        str(path.relative_to(ROOT))
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *documents)
    ]


@cache
def blocks(page: str) -> tuple[Block, ...]:
    return tuple(_blocks(page))


def _blocks(page: str) -> Iterator[Block]:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    opened: tuple[int, re.Match[str]] | None = None
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if opened is None:
            opened = (number, fence) if fence else None
        elif fence and not fence["language"]:
            start, first = opened
            indent = len(first["indent"])
            text = "".join(f"{one[indent:]}\n" for one in lines[start : number - 1])
            yield Block(page, start, first["language"], text)
            opened = None
    assert opened is None, f"{page}:{opened[0] if opened else 0} is not closed"


def outside_of_blocks(page: str) -> list[tuple[int, str]]:
    """The lines of a page that are in no fenced block, with their numbers."""
    inside = {
        number
        for block in blocks(page)
        for number in range(block.line, block.line + block.text.count("\n") + 2)
    }
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [(number, line) for number, line in enumerate(lines, 1) if number not in inside]


def inline_code(page: str) -> list[tuple[int, str]]:
    """What stands in backquotes, also over the end of a line, with the line that it begins in."""
    kept = outside_of_blocks(page)
    text = "\n".join(line for _, line in kept)
    return [
        (kept[text.count("\n", 0, match.start())][0], " ".join(match[1].split()))
        for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", text)
    ]
