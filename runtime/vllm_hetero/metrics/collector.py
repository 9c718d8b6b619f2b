"""Hands what the ranks counted to ``prometheus_client``, when ``/metrics`` is asked for."""

import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from vllm_hetero.metrics import folder, record
from vllm_hetero.metrics.catalogue import (
    INFO_LABELS,
    LABELS,
    METRICS,
    PROCESS_CPU_SECONDS,
    PROCESS_RESIDENT_BYTES,
    RANK_INFO,
    RECEIVE_RUNNING_SECONDS,
    STEP_RUNNING_SECONDS,
    Metric,
)
from vllm_hetero.metrics.process import process_use
from vllm_hetero.metrics.record import Word
from vllm_hetero.rank_map import Rank
from vllm_hetero.rank_table import cpu_ranges

_BEGUN = {STEP_RUNNING_SECONDS: Word.CALL_BEGUN, RECEIVE_RUNNING_SECONDS: Word.RECEIVE_BEGUN}


class RankCollector(Collector):
    """The ranks of one engine. What a rank cannot tell, because it is gone, has no sample."""

    def __init__(self, where: Path) -> None:
        self.folder = where

    def describe(self) -> Iterator[Family]:
        """The names, which the registry asks for before any rank exists."""
        return map(_family, METRICS)

    def collect(self) -> Iterator[Family]:
        families = {metric: _family(metric) for metric in METRICS}
        ranks = folder.described(self.folder)
        for rank in ranks.ranks if ranks else ():
            labels = _labels(rank)
            for metric, value in self._values(rank.rank).items():
                families[metric].add_metric(labels, value)
            families[RANK_INFO].add_metric([*labels, cpu_ranges(rank.cpus), _layers(rank)], 1)
        return (family for family in families.values() if family.samples)

    def _values(self, rank: int) -> dict[Metric, float]:
        told = record.read(self.folder, rank)
        values = {metric: told[metric.word] for metric in METRICS if metric.word in told}
        use = process_use(int(told.get(Word.PID, 0)), told.get(Word.STARTED_TICKS))
        if use is None:
            return values
        values[PROCESS_CPU_SECONDS] = use.cpu_s
        values[PROCESS_RESIDENT_BYTES] = use.resident_bytes
        now_s = time.monotonic()
        for metric, word in _BEGUN.items():
            if word in told:
                values[metric] = max(0.0, now_s - told[word]) if told[word] else 0.0
        return values


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    labels = INFO_LABELS if metric is RANK_INFO else LABELS
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.help, labels=labels)


def _labels(rank: Rank) -> list[str]:
    node = "" if rank.numa_node is None else str(rank.numa_node)
    return [str(rank.rank), rank.device, node]


def _layers(rank: Rank) -> str:
    return "" if rank.layers is None else f"{rank.layers[0]}-{rank.layers[1] - 1}"
