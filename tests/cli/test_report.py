"""``hetctl report`` over one folder and over several."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hetctl.bench import frame
from hetctl.bench.compare import RESULTS_FILE
from hetctl.bench.results import Results
from hetctl.cli.app import app
from hetctl.errors import UsageError
from tests.bench import sample
from tests.bench.sample_folder import sweep_folder

REPORTS = ("results.csv", "results.md", "report.html")


def invoke(*args: object) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(app, ["report", *map(str, args)])
    return result.exit_code, result.output, result.exception


def saved(folder: Path, results: Results | None = None) -> Path:
    (results or sample.results()).save(folder / RESULTS_FILE)
    return folder


def test_a_sweep_is_reported_with_its_headline_its_curve_and_its_busiest_load(
    tmp_path: Path,
) -> None:
    sweep_folder(tmp_path, (1, 64), repeats=1)
    code, text, _ = invoke(tmp_path)
    assert code == 0
    assert all((tmp_path / name).stat().st_size > 0 for name in REPORTS)
    assert "hybrid is fastest with 1 at a time" in " ".join(text.split())
    assert "64 at a time" in text
    assert "GPU J/token" in text
    assert 'id="distributions"' in (tmp_path / "report.html").read_text()


def test_several_folders_become_one_report_in_a_folder_of_its_own(tmp_path: Path) -> None:
    ones, others = saved(tmp_path / "base"), saved(tmp_path / "new")
    before = (ones / RESULTS_FILE).read_text()
    code, text, _ = invoke(ones, others, "--out", tmp_path / "joined")
    assert code == 0
    assert "hybrid.base" in text
    assert all((tmp_path / "joined" / name).exists() for name in REPORTS)
    assert (ones / RESULTS_FILE).read_text() == before
    assert not (ones / "report.html").exists()
    joined = Results.load(tmp_path / "joined" / RESULTS_FILE)
    assert [part.folder for part in joined.joined] == [str(ones), str(others)]
    assert str(others) in (tmp_path / "joined/report.html").read_text()
    assert invoke(tmp_path / "joined")[0] == 0, "a joined report can be made again, too"
    _, _, error = invoke(ones, others, "--out", tmp_path / "joined")
    assert isinstance(error, UsageError)
    assert "already holds results" in str(error)


def test_what_may_differ_must_be_said(tmp_path: Path) -> None:
    other = sample.results(model="org/other")
    folders = saved(tmp_path / "a"), saved(tmp_path / "b", other)
    _, _, error = invoke(*folders, "--out", tmp_path / "out")
    assert "--allow model" in str(error)
    code, text, _ = invoke(*folders, "--out", tmp_path / "out", "--allow", "model")
    assert code == 0
    assert "Joined with care: model is" in " ".join(text.split())


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    empty = saved(tmp_path / "empty", sample.blank())
    _, _, error = invoke(saved(tmp_path / "a"), empty)
    assert isinstance(error, UsageError)
    assert str(empty) in str(error)


def test_parquet_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame.importlib.util, "find_spec", lambda name: None)
    _, _, error = invoke(saved(tmp_path), "--parquet")
    assert isinstance(error, UsageError)
    assert "pyarrow" in str(error)
    assert not (tmp_path / "report.html").exists()
