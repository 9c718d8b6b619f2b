"""What an output token costs: joules, and bytes of memory traffic against the limit."""

from collections.abc import Callable
from dataclasses import dataclass

from hetctl.bench.memory_limit import MemoryLimit, memory_limit
from hetctl.bench.metrics import format_number
from hetctl.bench.results import Results, Run
from hetctl.bench.summary import Value, value_over
from hetctl.units import format_bytes


@dataclass(frozen=True)
class EfficiencyFigure:
    """A figure that needs more than the load generator's view, and so may be missing."""

    key: str
    title: str
    long_title: str
    unit: str
    higher_is_better: bool
    of: Callable[[Results, Run], float | None]
    format: Callable[[float], str]

    def value(self, results: Results, runs: tuple[Run, ...]) -> Value | None:
        """Over the runs of one configuration; None if any of them lacks it."""
        figures = [self.of(results, run) for run in runs]
        known = [figure for figure in figures if figure is not None]
        return value_over(known) if known and len(known) == len(figures) else None


def gpu_energy_j(results: Results, run: Run) -> float | None:
    """Of the GPUs that the configuration uses (all, where no plan tells), idle power included."""
    if run.telemetry_digest is None:
        return None
    plan = results.configuration(run.configuration).plan
    used = [
        gpu.energy_j
        for gpu in run.telemetry_digest.gpus
        if plan is None or f"cuda:{gpu.index}" in plan.devices
    ]
    known = [joules for joules in used if joules is not None]
    return sum(known) if known and len(known) == len(used) else None


def _gpu_joules_per_token(results: Results, run: Run) -> float | None:
    return _per_token(gpu_energy_j(results, run), run)


def _cpu_joules_per_token(results: Results, run: Run) -> float | None:
    return _per_token(
        run.telemetry_digest.cpu_package_energy_j if run.telemetry_digest else None, run
    )


def _per_token(joules: float | None, run: Run) -> float | None:
    tokens = run.measurement.output_tokens
    return joules / tokens if joules is not None and tokens else None


def _bytes_per_token(results: Results, run: Run) -> float | None:
    limit = run_memory_limit(results, run)
    return limit.bytes_per_token if limit else None


def _bandwidth_share(results: Results, run: Run) -> float | None:
    limit = run_memory_limit(results, run)
    return limit.share if limit else None


def run_memory_limit(results: Results, run: Run) -> MemoryLimit | None:
    """What memory bandwidth allowed this run; None without a plan, a spec or a bandwidth."""
    plan = results.configuration(run.configuration).plan
    if plan is None or results.spec is None:
        return None
    return memory_limit(results.spec, plan, results.environment.machine, run.measurement)


EFFICIENCY = (
    EfficiencyFigure(
        key="gpu_joules_per_output_token",
        title="GPU J/token",
        long_title="GPU energy per output token",
        unit="J/token",
        higher_is_better=False,
        of=_gpu_joules_per_token,
        format=format_number,
    ),
    EfficiencyFigure(
        key="cpu_joules_per_output_token",
        title="CPU J/token",
        long_title="CPU energy per output token",
        unit="J/token",
        higher_is_better=False,
        of=_cpu_joules_per_token,
        format=format_number,
    ),
    EfficiencyFigure(
        key="bytes_read_per_output_token",
        title="Read/token",
        long_title="Memory read per output token",
        unit="bytes",
        higher_is_better=False,
        of=_bytes_per_token,
        format=format_bytes,
    ),
    EfficiencyFigure(
        key="memory_bandwidth_share",
        title="Of memory limit",
        long_title="Share of what memory bandwidth allows",
        unit="1 is the limit",
        higher_is_better=True,
        of=_bandwidth_share,
        format="{:.0%}".format,
    ),
)
"""In the order they are shown. Joules are of the whole load over all output tokens."""
