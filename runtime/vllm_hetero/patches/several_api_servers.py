"""Patch: the ranks' metrics also with several API servers.

What: ``prometheus_client``'s ``MultiProcessCollector.collect`` also yields what our collector does.
Why: with ``--api-server-count`` above 1, ``/metrics`` shows what all API servers wrote to files.
For each request a registry with just that collector is made, by vLLM and by the middleware that
answers first, so none of the default registry's collectors is seen.
Removable when: collectors can be registered for that page.
"""

from collections.abc import Iterator
from functools import wraps

from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from vllm_hetero.patches.contract import require_parameters


def apply(collector: Collector) -> None:
    """Wrap the method; does nothing the second time."""
    original = MultiProcessCollector.collect
    if hasattr(original, "has_ranks"):
        return
    require_parameters(original, ("self",))

    @wraps(original)
    def collect(self: MultiProcessCollector) -> Iterator[Metric]:
        yield from original(self)
        yield from collector.collect()

    collect.has_ranks = True  # type: ignore[attr-defined]
    MultiProcessCollector.collect = collect
