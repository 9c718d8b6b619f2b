"""The page for users lists every metric as the code defines it."""

from pathlib import Path

from tests.launch.dashboard_queries import metric_names
from vllm_hetero.metrics.catalogue import METRICS

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def table() -> str:
    rows = [f"| `{metric.name}` | {metric.kind} | {metric.help} |" for metric in METRICS]
    return "\n".join(["| metric | kind | meaning |", "| --- | --- | --- |", *rows])


def test_the_table_is_that_of_the_code() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), f"docs/metrics.md must contain:\n{table()}"


def test_the_examples_are_promql_and_name_what_exists() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## What to ask")[2].partition("## How")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    queries = [line.split("`")[1] for line in lines]
    assert len(queries) > 4
    names = {metric.name for metric in METRICS}
    for query in queries:
        assert metric_names(query) <= names
        assert metric_names(query)
