"""The recipes in ci/ are YAML that calls hetctl and make as they are; measure.sh takes turns."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hetctl.cli.app import app

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "ci").rglob("speed*.yml"))
PAGES = ROOT / "ci" / "github" / "pages.yml"


def texts(node: Any) -> Iterator[str]:
    """Every string in a YAML document."""
    if isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node


def options_of(command: str) -> set[str]:
    """The options that a hetctl command takes."""
    group: Any = typer.main.get_command(app)
    found = group.commands[command]
    return {name for parameter in found.params for name in parameter.opts}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_commands_and_options_exist(recipe: Path) -> None:
    document = yaml.safe_load(recipe.read_text())
    lines = [line for text in texts(document) for line in text.splitlines()]
    calls = [call for line in lines for call in re.findall(r"hetctl\"? (\w+)([^|;]*)", line)]
    assert {"gate", "report"} <= {command for command, _ in calls} <= {"model", "gate", "report"}
    for command, rest in calls:
        if command != "model":
            assert set(re.findall(r"--[a-z-]+", rest)) <= options_of(command)
    loads = [line for line in lines if line.startswith("--")]
    assert loads
    for load in loads:
        assert set(re.findall(r"--[a-z-]+", load)) <= options_of("bench")


def test_there_are_recipes_for_both_services_with_and_without_a_gpu() -> None:
    names = {str(path.relative_to(ROOT / "ci")) for path in RECIPES}
    assert names == {"github/speed-cpu.yml", "github/speed-gpu.yml", "gitlab/speed.yml"}
    assert {*RECIPES, PAGES} == set((ROOT / "ci").rglob("*.yml"))


def test_the_documentation_s_job_publishes_what_make_builds() -> None:
    """And only what was pushed, with no more rights than that takes."""
    recipe = yaml.safe_load(PAGES.read_text())
    build, publish = recipe["jobs"]["build"], recipe["jobs"]["publish"]
    commands = [step["run"] for step in build["steps"] if "run" in step]
    assert commands == ["make docs"]
    done = subprocess.run(["make", "--dry-run", "docs"], cwd=ROOT, capture_output=True, text=True)
    assert "mkdocs build --strict" in done.stdout
    (uploaded,) = [s for s in build["steps"] if "upload-pages-artifact" in s.get("uses", "")]
    # Not MkDocs' own reading of it, which would import the hooks.
    settings = (ROOT / "mkdocs.yml").read_text()
    assert f"\nsite_dir: {uploaded['with']['path']}\n" in settings
    assert recipe["permissions"] == {"contents": "read"}
    assert "permissions" not in build
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert publish["if"] == "github.event_name == 'push'"


HETCTL = """#!/bin/sh
echo "$(basename "$PWD") $*" >> "$CALLS"
while [ "$1" != --out ]; do shift; done
mkdir -p "$2/raw"
run=$(( $(ls "$2/raw" | sed 's/.*-//' | sort -u | wc -l) + 1 ))
[ ! -f "$STOP_AT" ] || [ "$run" -lt 3 ] || exit 130
for point in c1 c4; do echo {} > "$2/raw/hybrid-$point-$run.json"; done
"""


def test_measuring_takes_turns_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    for side in ("base", "current"):
        program = tmp_path / side / ".venv/bin/hetctl"
        program.parent.mkdir(parents=True)
        program.write_text(HETCTL)
        program.chmod(0o755)
    (tmp_path / "a model").mkdir()
    calls, stop = tmp_path / "calls", tmp_path / "stop"
    stop.touch()

    def measure() -> int:
        command = [ROOT / "ci/measure.sh", "a model", "results", "--concurrency", "1,4"]
        environment = os.environ | {
            "BASE": str(tmp_path / "base"),
            "CURRENT": str(tmp_path / "current"),
            "ROUNDS": "3",
            "CALLS": str(calls),
            "STOP_AT": str(stop),
        }
        return subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode

    assert measure() == 130
    stop.unlink()
    assert measure() == 0
    asked = [line.split(" bench ")[0] for line in calls.read_text().splitlines()]
    # Stopped in the third run of base, which is asked for again.
    assert asked == ["base", "current"] * 2 + ["base"] + ["base", "current"]
    line = calls.read_text().splitlines()[0]
    out = tmp_path.resolve() / "results/base"
    expected = f"base bench {tmp_path.resolve()}/a model --out {out} --append --concurrency 1,4"
    assert line == expected
    assert measure() == 0
    assert len(calls.read_text().splitlines()) == 7, "nothing is left to do"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    environment = os.environ | {"BASE": "b", "CURRENT": "c"}
    done = subprocess.run(
        [ROOT / "ci/measure.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
