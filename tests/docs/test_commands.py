"""Every command that the documentation shows is run; ``programs.py`` says what becomes of which.

Pages are scripts for a reader, so each runs from its first block to its last in one folder.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from hetctl.cli.app import app
from tests.bench.mock_server import MockServer
from tests.docs.blocks import SHELL, blocks, inline_code, pages
from tests.docs.hetctl_calls import SLOW_OPTIONS
from tests.docs.sandbox import Sandbox, make_sandbox
from tests.docs.shown_output import aligned, refresh

ROOT = Path(__file__).parents[2]
WITH_COMMANDS = [page for page in pages() if any(b.language in SHELL for b in blocks(page))]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with MockServer(model="demo") as server:
        yield make_sandbox(tmp_path_factory.mktemp("template"), server.port)


@pytest.fixture
def sandbox(template: Sandbox, tmp_path: Path) -> Sandbox:
    """A fresh copy: what a page leaves behind is not there for the next one."""
    around = template.folder.parent
    shutil.copytree(around, tmp_path / "copy", symlinks=True)
    return Sandbox(
        folder=tmp_path / "copy" / template.folder.name,
        record=template.record,
        programs=template.programs,
        home=tmp_path / "copy" / "home",
        api_port=template.api_port,
    )


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_the_commands_of_a_page_run(page: str, sandbox: Sandbox) -> None:
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        for script, shown in block.commands():
            done = sandbox.run(script)
            place = f"{block.place}\n{script}\n"
            if shown is None:
                assert done.returncode == 0, f"{place}{done.stdout}"
                continue
            lines = aligned(shown, done.stdout)
            assert lines is not None, f"{place}printed\n{done.stdout}\nand not\n{shown}"
            if os.environ.get("DOCS_REFRESH"):
                refresh(block, shown, lines)


@cache
def hetctl_commands() -> dict[tuple[str, ...], set[str]]:
    """The options of each command, by its words; hetctl's own belong to all."""
    root = typer.main.get_command(app)
    own = {name for param in root.params for name in (*param.opts, *param.secondary_opts)}
    own |= {"--help", "-h"}
    found: dict[tuple[str, ...], set[str]] = {(): own}

    def walk(group: object, words: tuple[str, ...]) -> None:
        for name, command in getattr(group, "commands", {}).items():
            options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
            found[(*words, name)] = own | options
            walk(command, (*words, name))

    walk(root, ())
    return found


INLINE = [(page, line, code) for page in pages() for line, code in inline_code(page)]


@pytest.mark.parametrize(
    ("page", "line", "code"),
    [entry for entry in INLINE if re.match(r"hetctl [a-z-]", entry[2])],
    ids=lambda value: str(value)[:60],
)
def test_a_command_in_a_sentence_is_one(page: str, line: int, code: str) -> None:
    words = re.split(r"[ =]", code.partition(" -- ")[0])[1:]
    command: tuple[str, ...] = ()
    while words and (*command, words[0]) in hetctl_commands():
        command = (*command, words.pop(0))
    assert command or words[0].startswith("-"), f"{page}:{line}: there is no hetctl {words[0]}"
    options = {re.sub(r"[^\w-].*", "", word) for word in words if word.startswith("-")}
    unknown = options - hetctl_commands()[command]
    assert not unknown, f"{page}:{line}: hetctl {' '.join(command)} takes no {unknown}"


READ_BY_VLLM = """
import json, sys
from vllm.entrypoints.openai.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser())
for line in sys.stdin:
    parser.parse_args(json.loads(line)[1:])
    print("taken")
"""


def test_what_vllm_is_told_it_takes(template: Sandbox) -> None:
    """Commands of the pages above, and of servers that hetctl would start for them."""
    if not template.record.read_text():
        for page in WITH_COMMANDS:
            for block in (block for block in blocks(page) if block.language in SHELL):
                for call in re.findall(r"^(?:\w+=\S+ )?(?:hetctl|vllm) serve .*", block.text, re.M):
                    template.run(call)
    commands = template.record.read_text()
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_VLLM],
        input=commands,
        env=os.environ | {"VLLM_HETEROGENEOUS_PLATFORM": "1", "VLLM_LOGGING_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("taken") == commands.count("\n") > 5


def test_what_is_left_out_is_run_elsewhere() -> None:
    for where in SLOW_OPTIONS.values():
        for path in where.split(", "):
            assert (ROOT / path).exists(), path


def test_an_unknown_program_or_option_fails(template: Sandbox) -> None:
    for wrong in (
        "frobnicate --now",
        "hetctl frobnicate",
        "hetctl serve org/model --frobnicate",
        "hetctl bench org/model --frobnicate",
        "hetctl doctor --full --frobnicate",
        "hetctl probe --calibrate --frobnicate",
        "make frobnicate",
        "python benchmarks/hops.py --frobnicate",
        "python benchmarks/frobnicate.py",
        "docker run --frobnicate hetctl",
        "docker run --rm hetctl frobnicate",
        "pip install frobnicate",
        "curl http://127.0.0.1:8000/v1/frobnicate",
        "curl http://example.org/",
        "VLLM_USE_V1=1 vllm frobnicate",
        "sh benchmarks/frobnicate.sh",
        ".venv/bin/pytest -q tests/frobnicate",
    ):
        done = template.run(wrong)
        assert done.returncode != 0, f"{wrong}: {done.stdout}"


def test_shown_output_is_compared_by_its_words() -> None:
    printed = "rank  weights\n   0  13.5 GiB  ███░\n\nlast line\n"
    assert aligned("rank weights\n0 9 GiB █\n...\nlast line\n", printed) == [
        *("rank  weights", "   0  13.5 GiB  ███░", "...", "last line")
    ]
    assert aligned("rank weights\n...\n", printed) is not None
    assert aligned("rank weights\n0 9 MiB █\n...\n", printed) is None
    assert aligned("rank weights\n", printed) is None
    assert aligned("...\nlast line\nmore\n", printed) is None
