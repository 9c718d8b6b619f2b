"""The gate's answer as JUnit XML, which CI systems show as tests.

One test case per metric: a regression is a failure; not enough evidence is a skipped test,
for nothing was shown; an improvement passes. The XML is that of the Jenkins JUnit schema.
"""

import re
from datetime import UTC
from xml.etree import ElementTree as ET

from hetctl.bench.gate.decision import ALARM_CONFIDENCE, CLEAR_CONFIDENCE
from hetctl.bench.gate.report import GateReport, MetricResult, format_interval, format_ratio

_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def to_junit(report: GateReport) -> str:
    """An XML document with one test suite."""
    counts = {
        "tests": str(len(report.metrics)),
        "failures": str(sum(one.verdict == "regression" for one in report.metrics)),
        "errors": "0",
        "skipped": str(sum(one.verdict == "not enough evidence" for one in report.metrics)),
        "time": "0",
    }
    suites = ET.Element("testsuites", {"name": "hetctl gate"} | counts)
    # The schema's times have no zone.
    started = f"{report.current.started.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    suite = ET.SubElement(
        suites, "testsuite", {"name": "hetctl gate", "timestamp": started} | counts
    )
    for one in report.metrics:
        _case(suite, one, f"{report.model}.{report.configuration}")
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def _case(suite: ET.Element, one: MetricResult, of: str) -> None:
    case = ET.SubElement(
        suite, "testcase", {"classname": _clean(of), "name": one.metric, "time": "0"}
    )
    if one.verdict == "regression":
        attributes = {"message": one.reason, "type": "regression"}
        ET.SubElement(case, "failure", attributes).text = _figures(one)
    elif one.verdict == "not enough evidence":
        ET.SubElement(case, "skipped", {"message": one.reason})
    ET.SubElement(case, "system-out").text = _figures(one)


def _figures(one: MetricResult) -> str:
    metric = one.definition
    return (
        f"{one.verdict}: fails if {one.threshold}; BASE {metric.format(one.base_median)}, "
        f"CURRENT {metric.format(one.current_median)}, ratio {format_ratio(one.ratio)}, "
        f"{CLEAR_CONFIDENCE:.0%} interval {format_interval(one.clear_interval)}, "
        f"{ALARM_CONFIDENCE:.0%} interval {format_interval(one.alarm_interval)}"
    )


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_XML.sub("", text)
