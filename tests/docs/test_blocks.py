"""Blocks say what they are, so that no command is shown without being run."""

import json
import re
import tomllib
from itertools import pairwise

import pytest
import yaml

from tests.docs.blocks import LANGUAGES, Block, blocks, outside_of_blocks, pages

LOOKS_LIKE_A_COMMAND = re.compile(
    r"^(?:\$ )?(?:hetctl|vllm|python3?|pip|uvx?|make|docker|kubectl|curl|git|\.venv/bin/\w+) "
    r"(?:-|[a-z]+\b(?! +[A-Z]))(?!.*[─│])",
    re.MULTILINE,
)


@pytest.mark.parametrize("page", pages())
def test_every_block_names_its_language(page: str) -> None:
    unknown = [block.place for block in blocks(page) if block.language not in LANGUAGES]
    assert unknown == [], f"write one of {', '.join(LANGUAGES)} behind the fence"


@pytest.mark.parametrize("page", pages())
def test_no_block_is_made_by_indenting(page: str) -> None:
    """It could be a command, and would have no language to tell."""
    lines = outside_of_blocks(page)
    made = [
        f"{page}:{number}"
        for (_, before), (number, line) in pairwise(lines)
        if line.startswith("    ")
        and line.strip()
        and not before.strip()
        # A paragraph of a list's entry, or of an admonition.
        and not _continues_a_list(lines, number)
    ]
    assert made == []


def _continues_a_list(lines: list[tuple[int, str]], number: int) -> bool:
    for _, line in reversed([one for one in lines if one[0] < number]):
        if line.strip() and not line.startswith("    "):
            return bool(re.match(r"(?:[*-]|\d+\.|!!!|\?\?\?) ?", line)) or line.startswith("  ")
    return False


@pytest.mark.parametrize("page", pages())
def test_a_list_begins_after_an_empty_line(page: str) -> None:
    """Or the site, unlike other readers of Markdown, makes no list of it."""
    lines = outside_of_blocks(page)
    joined = [
        f"{page}:{number}"
        for (_, before), (number, line) in pairwise(lines)
        if re.match(r"(?:[*-]|\d+\.) ", line)
        and before.strip()
        and not re.match(r"(?:[*-]|\d+\.) |  ", before)
    ]
    assert joined == []


@pytest.mark.parametrize("page", pages())
def test_text_that_looks_like_a_command_is_marked_as_one(page: str) -> None:
    hidden = [
        f"{block.place}: {match[0]}"
        for block in blocks(page)
        if block.language == "text"
        for match in LOOKS_LIKE_A_COMMAND.finditer(block.text)
        if not match[0].startswith("$ ")
    ]
    assert hidden == []


DATA_BLOCKS = [
    block
    for page in pages()
    for block in blocks(page)
    if block.language in ("json", "toml", "yaml")
]


@pytest.mark.parametrize("block", DATA_BLOCKS, ids=lambda block: block.place)
def test_data_can_be_read(block: Block) -> None:
    read = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
    assert read[block.language](block.text)
