"""The command-line reference holds every command and every option, with what the code says."""

import re

import typer

from hetctl.cli.app import app
from hetctl.cli.catalogue import catalogue_of
from tools.docs.command_line import pages, prose

PAGES = pages()
ROOT = typer.main.get_command(app)
CONTEXT = ROOT.make_context("hetctl", [], resilient_parsing=True)


def test_each_command_has_a_page_and_a_line_in_the_index() -> None:
    index = PAGES["reference/commands/index.md"]
    for name in ROOT.commands:
        assert f"`hetctl {name}`]({name}.md)" in index
        assert PAGES[f"reference/commands/{name}.md"].startswith(f"# hetctl {name}\n")


def test_each_option_is_there_with_its_variable_and_its_key() -> None:
    catalogue = catalogue_of(CONTEXT)
    shared = set(catalogue.of(()))
    for option in catalogue.options:
        if option.command and option.name in shared:
            continue  # hetctl's own, which each command takes, are told once
        name = option.command[0] if option.command else "index"
        page = PAGES[f"reference/commands/{name}.md"]
        table = f"`[{'.'.join(option.command)}]` " if option.command else ""
        assert f"`{option.variable}` · {table}`{option.name}`" in page
        assert re.search(rf"`[^`]*--{option.name}\b[^`]*` {{ #", page)


def test_each_help_text_is_there() -> None:
    for name, command in ROOT.commands.items():
        for param in command.params:
            if param.help and name not in ("model", "kernels"):
                assert prose(param.help) in PAGES[f"reference/commands/{name}.md"]


def test_defaults_limits_and_choices_are_told() -> None:
    serve = PAGES["reference/commands/serve.md"]
    assert "Port to listen on. Default: `8000`. From 1 to 65535." in serve
    assert "`--p2p shm|gloo`" in serve
    assert "Requests in flight to plan for. Default: `8`. At least 1." in serve
    # A default that the help text tells is not told twice.
    assert "(default: all)." in serve
    assert "(default: all). Default" not in serve


def test_what_markdown_would_take_for_markup_stays_as_it_is() -> None:
    assert prose("a<b, [x] *y* and `c<d [e]`") == r"a&lt;b, \[x\] \*y\* and `c<d [e]`"
