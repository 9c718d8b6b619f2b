"""What GitHub Actions is told: annotations on stdout, and the job's summary.

An annotation is a line such as ``::error title=T::MESSAGE``, with a few characters written
as URLs do; see "Workflow commands for GitHub Actions" in GitHub's documentation.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from hetctl.bench.gate.decision import Verdict
from hetctl.bench.gate.markdown import to_markdown
from hetctl.bench.gate.report import GateReport, format_ratio
from hetctl.errors import HetctlError

_LEVELS: dict[Verdict, str] = {
    "regression": "error",
    "not enough evidence": "warning",
    "improvement": "notice",
}


def annotations(report: GateReport) -> Iterator[str]:
    """A line for each metric that is not simply ok."""
    for one in report.metrics:
        if level := _LEVELS.get(one.verdict):
            title = _property(f"{one.metric}: {one.verdict}")
            text = _data(f"{one.metric} is {format_ratio(one.ratio)} times BASE's. {one.reason}")
            yield f"::{level} title={title}::{text}"


def refusal(message: str) -> str:
    """The line for a comparison that was refused."""
    return f"::error title=hetctl gate::{_data(message)}"


def is_github(env: Mapping[str, str]) -> bool:
    """Whether this runs as a step of GitHub Actions."""
    return env.get("GITHUB_ACTIONS") == "true"


def append_summary(report: GateReport, env: Mapping[str, str]) -> None:
    """Add the report to the job's summary, if there is one.

    Raises:
        HetctlError: the file that GitHub named cannot be written.
    """
    if path := env.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as summary:
                summary.write(to_markdown(report))
        except OSError as error:
            raise HetctlError(
                f"Cannot write the job's summary {path}: {error.strerror}."
            ) from error


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
