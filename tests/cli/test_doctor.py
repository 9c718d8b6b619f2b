"""``hetctl doctor`` as a user sees it."""

import json
import os
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from hetctl.cli.doctor_view import diagnosis_view
from hetctl.doctor.diagnosis import Diagnosis, Finding
from hetctl.errors import EXIT_FAILURE, EXIT_USAGE


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hetctl", "doctor", *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_exit_code_tells_whether_something_failed() -> None:
    ill = run("--quick", "--json", VLLM_PLUGINS="other")
    assert ill.returncode == EXIT_FAILURE
    findings = {f["name"]: f for f in json.loads(ill.stdout)["findings"]}
    assert findings["registered"]["status"] == "fail"
    well = run("--quick", "--json")
    failed = [f for f in json.loads(well.stdout)["findings"] if f["status"] == "fail"]
    assert well.returncode == (EXIT_FAILURE if failed else 0)


def test_contradicting_options_are_refused_before_anything_starts() -> None:
    assert run("--quick", "--full").returncode == EXIT_USAGE
    assert run("--bundle", "report.zip").returncode == EXIT_USAGE


def test_lines_fit_80_columns_without_colour_when_piped() -> None:
    lines = run("--quick", COLUMNS="80").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "\x1b" in line]


@pytest.fixture
def diagnosis() -> Diagnosis:
    found = {"group": "GPU", "detail": "[bold]odd[/] text"}
    return Diagnosis(
        findings=(
            Finding(name="one", status="pass", **found),
            Finding(name="two", status="warn", remedy="Do this.", **found),
            Finding(name="three", status="fail", remedy="Do that.", **found),
            Finding(name="four", status="skipped", **found),
        )
    )


def test_each_finding_is_shown_with_its_remedy_as_it_was_written(diagnosis: Diagnosis) -> None:
    console = Console(file=StringIO(), width=80)
    console.print(diagnosis_view(diagnosis))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("[bold]odd[/] text") == 4
    assert "Do this." in text
    assert "Do that." in text
    assert "1 passed, 1 to look at, 1 failed, 1 skipped" in text
    assert not diagnosis.healthy
