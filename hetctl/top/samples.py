"""The figures on a page of metrics (Prometheus text), by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hetctl.errors import HetctlError, printable

Labels = Mapping[str, str]

_BUCKET = "_bucket{"
# Seconds, bytes and counts are within these; without them, sums and quotients might not be finite.
_LEAST, _MOST = 1e-12, 1e24


@dataclass(frozen=True)
class Samples:
    """Each metric's series: their labels and values."""

    series: Mapping[str, tuple[tuple[Labels, float], ...]]

    def total(self, name: str) -> float | None:
        """The sum over all series; None if there is none."""
        values = [value for _, value in self.series.get(name, ())]
        return sum(values) if values else None

    def highest(self, name: str) -> float | None:
        """The highest value of all series; None if there is none."""
        return max((value for _, value in self.series.get(name, ())), default=None)

    def label(self, name: str, label: str) -> str | None:
        """A label of the metric's first series."""
        return next((labels.get(label) for labels, _ in self.series.get(name, ())), None)

    def of_ranks(self, name: str) -> dict[int, float]:
        """Each rank's value of one of vllm_hetero's metrics."""
        return {rank: value for rank, _, value in self._by_rank(name)}

    def labels_of_ranks(self, name: str) -> dict[int, Labels]:
        """Each rank's labels."""
        return {rank: labels for rank, labels, _ in self._by_rank(name)}

    def _by_rank(self, name: str) -> Iterator[tuple[int, Labels, float]]:
        for labels, value in self.series.get(name, ()):
            rank = labels.get("rank", "")
            if rank.isdecimal():
                yield int(rank), labels, value


def parse(page: str, origin: str) -> Samples:
    """The samples of a page, without histograms' buckets, which are most of it.

    Args:
        origin: Where the page is from, for errors.

    Raises:
        HetctlError: it is not in Prometheus' text format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    series: dict[str, list[tuple[Labels, float]]] = {}
    lines = (line for line in page.splitlines() if _BUCKET not in line)
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                if sample.value == 0 or _LEAST <= sample.value <= _MOST:
                    labels = {name: printable(value) for name, value in sample.labels.items()}
                    series.setdefault(sample.name, []).append((labels, sample.value))
    except (ValueError, LookupError, AttributeError) as error:
        # What the parser stumbles over depends on what is wrong with the text.
        raise HetctlError(
            f"What answers at {origin} shows no metrics in Prometheus' format; is it a vLLM server?"
        ) from error
    return Samples({name: tuple(found) for name, found in series.items()})
