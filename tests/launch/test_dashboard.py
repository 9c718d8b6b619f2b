"""The Grafana dashboard: its layout, its variables, and queries that parse and name what exists."""

import json
from itertools import combinations
from typing import Any

import promql_parser
import pytest

from hetctl.launch.dashboard import grafana_dashboard
from tests.launch.dashboard_queries import metric_names, queries, substituted
from vllm_hetero.metrics.catalogue import METRICS


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(grafana_dashboard())
    return found


def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    for panel in panels:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert 0 <= place["x"] <= 24 - place["w"], panel["title"]
    for a, b in combinations(panels, 2):
        assert apart(a["gridPos"], b["gridPos"]), (a["title"], b["title"])


def apart(a: dict[str, int], b: dict[str, int]) -> bool:
    return (
        a["x"] + a["w"] <= b["x"]
        or b["x"] + b["w"] <= a["x"]
        or a["y"] + a["h"] <= b["y"]
        or b["y"] + b["h"] <= a["y"]
    )


def test_each_query_asks_the_chosen_data_source_for_the_chosen_server(
    dashboard: dict[str, Any],
) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "instance", "rank"]
    assert variables["datasource"]["type"] == "datasource"
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
    for query in queries(dashboard):
        selectors = query.count("{")
        assert query.count('{instance="$instance"') == selectors > 0, query


def test_the_schema_is_the_one_of_a_present_grafana(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == 42
    assert "id" not in dashboard  # Else an import would overwrite another dashboard.
    assert dashboard["uid"]


def test_queries_are_promql_and_name_our_metrics_as_they_are(dashboard: dict[str, Any]) -> None:
    ours = {metric.name for metric in METRICS}
    used = {name for query in queries(dashboard) for name in metric_names(query)}
    assert {name for name in used if name.startswith("vllm_hetero_")} <= ours
    # What nobody looks at: last steps are for people without Prometheus.
    unused = {name for name in ours - used if "last_step" not in name}
    assert unused == {"vllm_hetero_rank_info"}


def test_a_query_that_is_none_is_found() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        metric_names("sum(rate(a[5m])")
    assert metric_names("sum(rate(a_total[$__rate_interval])) / (b or vector(0))") == {
        "a_total",
        "b",
    }
    assert promql_parser.parse(substituted('a{x="$instance"}'))
