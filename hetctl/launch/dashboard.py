"""The Grafana dashboard for servers that hetctl starts."""

from importlib.resources import files


def grafana_dashboard() -> str:
    """JSON to import into Grafana: vLLM's own metrics, and those of ``docs/metrics.md``."""
    return files(__package__).joinpath("grafana_dashboard.json").read_text(encoding="utf-8")
