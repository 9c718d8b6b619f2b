"""Puts the ranks' metrics on the page that vLLM's API server serves."""

import os

from prometheus_client import REGISTRY

from vllm_hetero.metrics import folder
from vllm_hetero.metrics.collector import RankCollector

_collector: RankCollector | None = None


def serve() -> None:
    """Serve the ranks of the engine that this process configures; may be called again.

    vLLM's page shows the default registry. With several API servers it shows what all of them
    wrote to files instead, which :mod:`vllm_hetero.patches.several_api_servers` adds to.
    """
    global _collector
    where = folder.make()
    if _collector is not None:
        _collector.folder = where
        return
    _collector = RankCollector(where)
    REGISTRY.register(_collector)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from vllm_hetero.patches import several_api_servers

        several_api_servers.apply(_collector)
