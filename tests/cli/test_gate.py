"""``hetctl gate`` from the command line down to exit codes and files."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.gate.report import GateReport
from hetctl.bench.results import Load, Results
from hetctl.cli.app import app
from hetctl.errors import UsageError
from tests.bench.gate import noisy


@pytest.fixture(autouse=True)
def outside_of_github(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own CI must not be told of verdicts that were made up."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Folders of results: a base, and what it may be compared with."""
    made = {
        "base": noisy.results(),
        "same": noisy.results(commit="badcafe", late_s=30),
        "slower": noisy.results(1.12, commit="badcafe", late_s=30),
        "faster": noisy.results(0.85, commit="badcafe", late_s=30),
        "wild": noisy.results(1.0, noisy.WILD, commit="badcafe", late_s=30),
        "few": noisy.results(1.12, noisy.QUIET[:3], commit="badcafe", late_s=30),
        "seed": noisy.results(loads=(Load(seed=7),)),
    }
    for name, results in made.items():
        results.save(tmp_path / name / RESULTS_FILE)
    return {name: str(tmp_path / name) for name in made}


def invoke(*args: str | Path) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["gate", *map(str, args)])
    return result.exit_code, result.output, result.exception


def refused(*args: str | Path) -> str:
    """The message of a command that must end as an error of the user."""
    _, _, error = invoke(*args)
    assert isinstance(error, UsageError)
    return str(error)


@pytest.mark.parametrize(
    ("current", "code", "verdict"),
    [
        ("same", 0, "ok"),
        ("faster", 0, "improvement"),
        ("slower", 1, "regression"),
        ("wild", 3, "not enough evidence"),
        ("few", 3, "not enough evidence"),
    ],
)
def test_the_exit_code_tells_the_verdict_and_every_file_agrees(
    folders: dict[str, str], tmp_path: Path, current: str, code: int, verdict: str
) -> None:
    report, junit, markdown = (tmp_path / "new" / name for name in ("g.json", "g.xml", "g.md"))
    outputs = ("--json", report, "--junit", junit, "--markdown", markdown)
    found, text, _ = invoke(folders["base"], folders[current], *outputs)
    assert found == code
    assert verdict in text
    assert GateReport.load(report).verdict == verdict
    assert f"Benchmark gate: {verdict}" in markdown.read_text()
    suite = ET.parse(junit).getroot()[0]
    assert (suite.attrib["failures"] != "0") == (code == 1)
    assert (suite.attrib["skipped"] != "0") == (code == 3)


def test_the_process_itself_ends_with_these_codes(folders: dict[str, str], tmp_path: Path) -> None:
    def code(*args: str) -> int:
        command = [sys.executable, "-m", "hetctl", "gate", *args]
        return subprocess.run(command, capture_output=True, check=False).returncode

    base = folders["base"]
    assert code(base, folders["same"]) == 0
    assert code(base, folders["slower"]) == 1
    assert code(base, folders["seed"]) == 2
    assert code(base, folders["wild"]) == 3
    # A folder where a file should go: an error, not a regression.
    assert code(base, folders["same"], "--json", str(tmp_path)) == 2


def test_thresholds_come_from_options_and_a_file(folders: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text('fail = ["p99_ttft>1.05"]')
    report = tmp_path / "gate.json"
    code, _, _ = invoke(
        folders["base"],
        folders["slower"],
        *("--fail", "output_throughput<0.5", "--thresholds", file, "--json", report),
    )
    assert code == 1
    judged = {one["metric"]: one["verdict"] for one in json.loads(report.read_text())["metrics"]}
    assert judged == {"output_throughput": "ok", "p99_ttft": "regression"}


def test_a_difference_is_refused_until_it_is_allowed(folders: dict[str, str]) -> None:
    said = refused(folders["base"], folders["seed"])
    assert "seed is 0 in BASE and 7 in CURRENT" in said
    assert "--allow seed" in said
    code, text, _ = invoke(folders["base"], folders["seed"], "--allow", "versions,seed")
    assert code == 0
    assert "Compared although they differ in seed" in " ".join(text.split())


def test_github_gets_annotations_and_a_summary(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    _, text, _ = invoke(folders["base"], folders["slower"])
    commands = [line for line in text.splitlines() if line.startswith("::")]
    assert len(commands) == 3
    assert commands[0].startswith("::error title=output_throughput%3A regression::")
    assert "### Benchmark gate: regression" in summary.read_text()
    _, text, _ = invoke(folders["base"], folders["seed"])
    assert "::error title=hetctl gate::BASE and CURRENT cannot be compared:%0A" in text


def test_nothing_is_said_to_github_elsewhere(folders: dict[str, str]) -> None:
    assert "::" not in invoke(folders["base"], folders["slower"])[1]


def test_bad_input_is_named(folders: dict[str, str], tmp_path: Path) -> None:
    base, same = folders["base"], folders["same"]
    assert "needs two folders" in refused()
    assert "needs two folders" in refused(base)
    assert "not 3" in refused(base, same, same)
    assert "nowhere: No such file" in refused(base, tmp_path / "nowhere")
    assert "no metric 'speed'" in refused(base, same, "--fail", "speed<0.9")
    assert "does not know colour" in refused(base, same, "--allow", "colour")
    assert "no configuration 'gpu'" in refused(base, same, "--configuration", "gpu")
    assert "needs BASE and CURRENT" in refused(
        base, "--history", tmp_path / "h", "--json", tmp_path / "x"
    )
    cut = tmp_path / "cut.json"
    cut.write_text((Path(same) / RESULTS_FILE).read_text()[:500])
    assert "not valid JSON" in refused(base, cut)
    current = f'version": {Results.VERSION}'
    cut.write_text((Path(same) / RESULTS_FILE).read_text().replace(current, 'version": 9', 1))
    assert "schema version 9" in refused(base, cut)


def test_a_results_file_will_do_for_its_folder(folders: dict[str, str]) -> None:
    assert invoke(Path(folders["base"]) / RESULTS_FILE, folders["same"])[0] == 0


def test_history_keeps_the_current_side_and_finds_the_change(
    folders: dict[str, str], tmp_path: Path
) -> None:
    history = tmp_path / "history"
    for day in range(24):
        made = noisy.results(1.1 if day >= 15 else 1.0, commit=f"{day:07x}", late_s=86400 * day)
        made.save(tmp_path / "run" / RESULTS_FILE)
        if day < 23:
            assert invoke(tmp_path / "run", "--history", history)[0] == 0
    # The verdict on the last commit is the exit code; the history does not change it.
    base = Results.load(Path(folders["base"]) / RESULTS_FILE)
    base.save(tmp_path / "base" / RESULTS_FILE)
    code, text, _ = invoke(folders["base"], tmp_path / "run", "--history", history)
    assert code == 1
    assert "hybrid of org/tiny-8b, 24 commits" in text
    assert "000000f (2026-01-17): 100 -> 90.9, x0.909, worse (after 000000e)" in text
    (picture,) = history.glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, again, _ = invoke("--history", history)
    assert code == 0
    assert "24 commits" in again


def test_a_damaged_history_is_reported_and_used(folders: dict[str, str], tmp_path: Path) -> None:
    history = tmp_path / "history"
    assert "holds no history yet" in refused("--history", history)
    invoke(folders["base"], "--history", history)
    with (history / "history.jsonl").open("a") as file:
        file.write("{not json\n")
    code, text, _ = invoke("--history", history)
    assert code == 0
    assert "line 2 was passed over" in text
    assert "1 commit" in text
