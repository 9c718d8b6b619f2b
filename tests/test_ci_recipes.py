"""The recipes in ci/ are YAML that calls hetctl and make as they are; measure.sh takes turns.

What a recipe does with measurements is run for real, on invented results.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from hetctl.cli.app import app
from tests.bench.gate import noisy

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


def comparison_of(recipe: Path) -> tuple[str, str]:
    """The shell scripts with which a recipe compares and reports."""
    document = yaml.safe_load(recipe.read_text())
    if recipe.parent.name == "gitlab":
        speed = document[".speed"]
        (compare,) = [line for line in speed["script"] if "hetctl gate" in line]
        return compare, "\n".join(speed["after_script"])
    (job,) = document["jobs"].values()
    steps = {step.get("name"): step for step in job["steps"]}
    return steps["Compare"]["run"], steps["Report"]["run"]


class Workspace:
    """The folder of a job that has measured both sides."""

    def __init__(self, folder: Path, slowdown: float, noise: tuple[float, ...], vllm: str) -> None:
        self.folder = folder
        current = noisy.results(slowdown, noise, "badcafe", late_s=30)
        sides = {
            "base": noisy.of_version("0.2.1.dev3+gc0ffee", noisy.results()),
            "current": noisy.of_version("0.2.1.dev4+gbadcafe", current),
        }
        versions = sides["current"].environment.versions.model_copy(update={"vllm": vllm})
        environment = sides["current"].environment.model_copy(update={"versions": versions})
        sides["current"] = sides["current"].model_copy(update={"environment": environment})
        for name, made in sides.items():
            made.save(folder / "results" / name / "results.json")
        for checkout in ("", "current/"):
            program = folder / f"{checkout}.venv/bin/hetctl"
            program.parent.mkdir(parents=True)
            program.symlink_to(Path(sys.executable).with_name("hetctl"))

    def run(self, script: str) -> int:
        environment = os.environ | {
            "CURRENT": str(self.folder / "current"),
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
            "HISTORY": str(self.folder / "history"),
        }
        # As both services do.
        command = ["bash", "-e", "-c", script]
        return subprocess.run(command, cwd=self.folder, env=environment, check=False).returncode


PASSES, FAILS, DOUBTS = 0, 1, 3


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.parametrize(
    ("slowdown", "noise", "vllm", "expected"),
    [
        (1.0, noisy.QUIET, "0.26.0", PASSES),
        (1.12, noisy.QUIET, "0.26.0", FAILS),
        (1.0, noisy.WILD, "0.26.0", DOUBTS),
        (1.0, noisy.QUIET, "0.27.0", FAILS),
    ],
    ids=["equal", "slower", "in doubt", "another vLLM"],
)
def test_two_commits_are_compared_and_reported(
    recipe: Path,
    slowdown: float,
    noise: tuple[float, ...],
    vllm: str,
    expected: int,
    tmp_path: Path,
) -> None:
    job = Workspace(tmp_path, slowdown, noise, vllm)
    compare, report = comparison_of(recipe)
    code = job.run(compare)
    if expected == DOUBTS:
        # GitLab is told which exit code is a warning; elsewhere the script passes it over.
        allowed = yaml.safe_load(recipe.read_text()).get(".speed", {}).get("allow_failure")
        assert code == (allowed["exit_codes"] if allowed else 0)
    else:
        assert (code != 0) == (expected == FAILS)
    refused = vllm != "0.26.0"
    assert (tmp_path / "gate.xml").exists() != refused
    if expected == PASSES:
        assert job.run(report) == 0
        assert (tmp_path / "results/both/report.html").exists()


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
    expected = f"base bench {tmp_path.resolve()}/a model --out {out} --append --no-corrections"
    assert line == f"{expected} --concurrency 1,4"
    assert measure() == 0
    assert len(calls.read_text().splitlines()) == 7, "nothing is left to do"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    environment = os.environ | {"BASE": "b", "CURRENT": "c"}
    done = subprocess.run(
        [ROOT / "ci/measure.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr
