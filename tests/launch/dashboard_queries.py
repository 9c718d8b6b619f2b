"""What a dashboard asks Prometheus."""

from collections.abc import Iterator
from typing import Any

import promql_parser


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """The PromQL of every panel."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def substituted(query: str) -> str:
    """The query as Grafana would send it."""
    return query.replace("$__rate_interval", "5m")


def metric_names(query: str) -> set[str]:
    """The metrics that a query names.

    Raises:
        ValueError: it is not PromQL.
    """
    names: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            names.add(node.name)

    promql_parser.walk(promql_parser.parse(substituted(query)), visit)
    return names
