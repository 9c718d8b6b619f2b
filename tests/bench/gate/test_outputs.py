"""The report for people, pull requests, test dashboards and GitHub."""

import io
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from hetctl.bench.gate.github import annotations, append_summary, is_github, refusal
from hetctl.bench.gate.junit import to_junit
from hetctl.bench.gate.markdown import to_markdown
from hetctl.bench.gate.report import GateReport
from hetctl.bench.gate.table import gate_view
from hetctl.errors import HetctlError
from tests.bench.gate import noisy


def mixed() -> GateReport:
    """One metric of each verdict but improvement."""
    report = noisy.report(1.12)
    rate, ttft, tpot = report.metrics
    unsure = noisy.report(1.0, noisy.WILD).metrics[1]
    ok = noisy.report(1.0).metrics[2]
    assert (unsure.metric, ok.metric) == (ttft.metric, tpot.metric)
    return report.model_copy(update={"metrics": (rate, unsure, ok)})


def printed(report: GateReport, width: int = 80, **options: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, **options)
    console.print(gate_view(report, console))
    return text.getvalue()


def test_the_terminal_shows_everything_at_80_columns() -> None:
    text = printed(mixed())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for part in (
        "Regression in output_throughput",
        "output_throughput<0.95",
        "0.893",
        "p50_ttft>1.1",
    ):
        assert part in text
    assert [v for v in ("regression", "not enough evidence", "ok") if f" {v} " not in text] == []


def test_a_terminal_without_unicode_gets_ascii() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=raw, width=80)
    console.print(gate_view(mixed(), console))
    raw.flush()
    assert b"output_throughput<0.95" in raw.buffer.getvalue()  # type: ignore[attr-defined]


def test_markdown_is_a_table_with_a_row_per_metric_and_no_foreign_markup() -> None:
    report = mixed().model_copy(update={"model": "a|b<script>"})
    text = to_markdown(report)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3
    assert all(row.replace("\\|", "").count("|") == 8 for row in rows)
    assert "**regression**" in rows[2]
    assert "<script>" not in text
    assert "**Regression in" in text


def test_junit_has_the_shape_that_ci_systems_read() -> None:
    root = ET.fromstring(to_junit(mixed()))
    assert root.tag == "testsuites"
    (suite,) = root
    cases = suite.findall("testcase")
    assert [case.attrib["name"] for case in cases] == ["output_throughput", "p50_ttft", "p50_tpot"]
    assert {case.attrib["classname"] for case in cases} == {"org/tiny-8b.hybrid"}
    counts = {name: suite.attrib[name] for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "3", "failures": "1", "errors": "0", "skipped": "1"}
    assert int(counts["failures"]) == len(suite.findall("testcase/failure"))
    assert int(counts["skipped"]) == len(suite.findall("testcase/skipped"))
    assert suite.attrib["timestamp"] == "2026-01-02T03:05:35"
    failure = cases[0].find("failure")
    assert failure is not None
    assert "leaves out 1" in failure.attrib["message"]
    assert "ratio 0.893" in (failure.text or "")
    # The schema has these elements in this order and no others.
    order = ["failure", "skipped", "system-out"]
    for case in cases:
        tags = [child.tag for child in case]
        assert tags == sorted(tags, key=order.index)


def test_junit_is_xml_whatever_the_model_is_called() -> None:
    report = mixed().model_copy(update={"model": 'x\x00\x1b<&"ü'})
    case = ET.fromstring(to_junit(report)).find("testsuite/testcase")
    assert case is not None
    assert case.attrib["classname"] == 'x<&"ü.hybrid'


def test_annotations_are_commands_of_github() -> None:
    lines = list(annotations(mixed()))
    assert len(lines) == 2
    assert lines[0].startswith(
        "::error title=output_throughput%3A regression::output_throughput is"
    )
    assert "99%25 interval" in lines[0]
    assert lines[1].startswith("::warning title=p50_ttft%3A not enough evidence::")
    better = list(annotations(noisy.report(0.8)))
    assert better[0].startswith("::notice title=output_throughput%3A improvement::")
    assert refusal("100%\nof it") == "::error title=hetctl gate::100%25%0Aof it"


def test_the_summary_is_added_to_what_other_steps_wrote(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_summary(mixed(), {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text() == "before\n" + to_markdown(mixed())
    append_summary(mixed(), {})
    with pytest.raises(HetctlError, match="Cannot write the job's summary"):
        append_summary(mixed(), {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def test_github_is_told_from_its_environment() -> None:
    assert is_github({"GITHUB_ACTIONS": "true"})
    assert not is_github({"GITHUB_ACTIONS": ""})
    assert not is_github({})
