"""Settings from outside the command line, and how ``hetctl config`` shows them."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hetctl.cli.app import app
from hetctl.cli.catalogue import catalogue_of
from hetctl.cli.command import Command
from hetctl.cli.group import Group
from hetctl.errors import UsageError
from tests.bench import sample


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, in which the command runs, and no settings of the user."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return project


def set_by_user(folder: Path, text: str) -> Path:
    file = folder.parent / "xdg" / "hetctl" / "hetctl.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def set_by_project(folder: Path, text: str) -> Path:
    file = folder / "hetctl.toml"
    file.write_text(text)
    return file


def shown(*arguments: str) -> dict[str, dict[str, Any]]:
    done = CliRunner().invoke(app, ["config", *arguments, "--json"], catch_exceptions=False)
    return {entry["option"]: entry for entry in json.loads(done.stdout)["options"]}


def ports(*arguments: str) -> str:
    """The port of a server that the options would start."""
    plan = Path("plan.json")
    sample.plan().save(plan)
    command = ["serve", "--plan", str(plan), "--dry-run", *arguments]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    return done.stdout.partition("--port ")[2].split()[0]


def test_the_command_line_beats_the_variable_the_project_and_the_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ports() == "8000"
    user = set_by_user(folder, "[serve]\nport = 8001\n")
    assert ports() == "8001"
    assert shown("serve")["serve.port"] == {
        "option": "serve.port",
        "value": 8001,
        "source": str(user),
    }
    project = set_by_project(folder, "[serve]\nport = 8002\n")
    assert ports() == "8002"
    assert shown()["serve.port"]["source"] == str(project)
    monkeypatch.setenv("HETCTL_SERVE_PORT", "8003")
    assert ports() == "8003"
    assert shown()["serve.port"]["source"] == "HETCTL_SERVE_PORT"
    assert ports("--port", "8004") == "8004"


def test_every_option_has_a_key_and_a_variable_that_set_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with typer.main.get_command(app).make_context("hetctl", ["config"]) as ctx:
        options = catalogue_of(ctx).options
    assert len(options) > 60
    assert len({option.variable for option in options}) == len(options)
    examples = {bool: True, int: 7, float: 7.5, str: "auto"}
    choices = {"p2p": "gloo", "emit": "env"}
    lines, texts = [], {}
    for option in options:
        if option.name in ("quiet", "verbose"):
            continue
        value = choices.get(option.name, examples[option.kind])
        written = json.dumps([value] if option.many else value)
        lines.append(f"{'.'.join((*option.command, option.name))} = {written}")
        texts[option.variable] = str(value)
    project = set_by_project(folder, "\n".join(lines))
    assert {entry["source"] for entry in set_entries()} == {str(project)}
    for name, text in texts.items():
        monkeypatch.setenv(name, text)
    assert {entry["source"] for entry in set_entries()} == set(texts)


def set_entries() -> list[dict[str, Any]]:
    return [
        entry for entry in shown().values() if not entry["option"].endswith(("quiet", "verbose"))
    ]


@pytest.mark.parametrize(
    ("key", "variable"),
    [("kernels.install.from", "HETCTL_KERNELS_INSTALL_FROM"), ("probe.json", "HETCTL_PROBE_JSON")],
)
def test_options_are_named_as_on_the_command_line(
    folder: Path, key: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert shown()[key]["source"] == variable


def test_a_bad_value_is_refused_with_where_it_is_from(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = set_by_project(folder, "[serve]\nport = 99999\n")
    with pytest.raises(UsageError) as refused:
        ports()
    assert str(refused.value).startswith(f"{project}: [serve] port = 99999: ")
    monkeypatch.setenv("HETCTL_SERVE_PORT", "many")
    with pytest.raises(UsageError, match=r"^HETCTL_SERVE_PORT=many: .*integer"):
        ports()
    with pytest.raises(UsageError, match=r"^HETCTL_SERVE_PORT=many: "):
        CliRunner().invoke(app, ["config"], catch_exceptions=False)


def test_a_variable_that_sets_nothing_is_pointed_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HETCTL_SERVE_CONCURENCY", "1")
    done = CliRunner().invoke(app, ["config"], catch_exceptions=False)
    assert "did you mean HETCTL_SERVE_CONCURRENCY?" in " ".join(done.stderr.split())


def test_only_what_is_set_is_listed_unless_a_command_is_named(folder: Path) -> None:
    set_by_user(folder, "[bench]\nseed = 3\n")
    everything = CliRunner().invoke(app, ["config"], catch_exceptions=False).stdout
    assert "bench.seed  3" in everything
    assert "bench.repeats" not in everything
    of_bench = CliRunner().invoke(app, ["config", "bench"], catch_exceptions=False).stdout
    assert "bench.repeats" in of_bench
    with pytest.raises(UsageError, match="no command 'nonsense'"):
        CliRunner().invoke(app, ["config", "nonsense"], catch_exceptions=False)


def test_every_command_takes_settings() -> None:
    def leaves(command: Any) -> list[Any]:
        if not hasattr(command, "commands"):
            return [command]
        assert isinstance(command, Group)
        return [leaf for below in command.commands.values() for leaf in leaves(below)]

    assert [leaf.name for leaf in leaves(typer.main.get_command(app))]
    assert all(isinstance(leaf, Command) for leaf in leaves(typer.main.get_command(app)))


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hetctl", *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_broken_file_does_not_stand_in_the_way_of_help(folder: Path) -> None:
    set_by_project(folder, "[serve")
    assert run("--help").returncode == 0
    assert run("--version").returncode == 0
    refused = run("config")
    assert refused.returncode == 2
    assert "is not valid TOML" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_quiet_leaves_results_warnings_and_errors(folder: Path) -> None:
    saved = folder / "m.json"
    assert "Saved to" in run("probe", "--save", str(saved)).stderr
    for quietly in (
        run("probe", "-q", "--save", str(saved)),
        run("-q", "probe", "--save", str(saved)),
        run("probe", "--save", str(saved), HETCTL_PROBE_QUIET="1"),
    ):
        assert quietly.stderr == ""
        assert quietly.stdout
    set_by_project(folder, "quiet = true\n")
    assert run("probe", "--save", str(saved)).stderr == ""
    assert "error:" in run("plan", "no/model/here", "-q").stderr
    assert "contradict" in run("probe", "-q", "-v").stderr


def test_verbose_names_the_settings_used_and_where_an_error_comes_from(folder: Path) -> None:
    project = set_by_project(folder, "[plan]\nconcurrency = 3\n")
    said = run("plan", "./nothing", "--verbose", HETCTL_PLAN_DTYPE="float32").stderr
    assert f"{project}: [plan] concurrency = 3" in said
    assert "HETCTL_PLAN_DTYPE=float32" in said
    assert "Traceback" in said
    assert "Traceback" not in run("plan", "./nothing").stderr


def on_terminal(*arguments: str, **variables: str) -> bytes:
    """What a command writes to a terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "hetctl", *arguments],
        env={**os.environ, "TERM": "xterm-256color", **variables},
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        written = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            written += part
        process.wait(60)
    os.close(leader)
    return written


COLOUR = b"\x1b[1;31m"


def test_colours_are_for_terminals_and_off_with_no_color(folder: Path) -> None:
    assert COLOUR in on_terminal("plan", "./nothing")
    assert b"31m" not in on_terminal("plan", "./nothing", NO_COLOR="1")
    assert "\x1b" not in run("plan", "./nothing").stderr


def test_a_key_is_shown_nowhere(folder: Path) -> None:
    plan = folder / "plan.json"
    sample.plan().save(plan)
    serve = ("serve", "--plan", str(plan), "--dry-run")
    key = {"HETCTL_SERVE_API_KEY": "s3cretw0rd"}
    said = [
        run("config", **key),
        run("config", "serve", "--json", **key),
        run(*serve, "--verbose", **key),
        run(*serve, "--api-key", "s3cretw0rd"),
        run("serve", "--verbose", **key, HETCTL_SERVE_PORT="none"),
        run(*serve, HETCTL_SERVE_API_KEY="two s3cretw0rd"),
    ]
    for one in said:
        assert "s3cretw0rd" not in one.stdout + one.stderr
    assert "serve.api-key" in said[0].stdout
    assert "HETCTL_SERVE_API_KEY=********" in said[2].stderr
    set_by_project(folder, '[serve]\napi-key = "s3cretw0rd"\napi-key-file = "k"\n')
    assert "s3cretw0rd" not in run("config").stdout
    assert "'k'" in run("serve", "--verbose").stderr


def test_a_printed_command_names_the_file_of_the_key_or_says_that_one_is_needed(
    folder: Path,
) -> None:
    plan = folder / "plan.json"
    sample.plan().save(plan)
    serve = ("serve", "--plan", str(plan), "--dry-run")
    (folder / "my key").write_text("s3cretw0rd")
    (folder / "my key").chmod(0o600)
    named = run(*serve, "--api-key-file", "my key").stdout
    assert "export VLLM_API_KEY=\"$(cat 'my key')\"\n" in named
    assert "# Set VLLM_API_KEY to the key" in run(*serve, "--api-key", "s3cretw0rd").stdout
    assert "VLLM_API_KEY" not in run(*serve).stdout
