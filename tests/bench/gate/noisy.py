"""Results with runs of a known rate: made by the code itself, judged by the gate."""

from collections.abc import Sequence
from datetime import timedelta

from hetctl.bench.gate.comparability import Measured
from hetctl.bench.gate.gate import choose_configuration, gate
from hetctl.bench.gate.report import GateReport
from hetctl.bench.gate.thresholds import default_thresholds
from hetctl.bench.results import Load, Results
from hetctl.bench.telemetry.digest import Mark
from tests.bench import sample

QUIET = (0.995, 1.004, 1.0, 0.998, 1.006)
"""Five runs that differ by half a percent."""
WILD = (0.82, 1.16, 1.0, 0.88, 1.13)


def results(
    slowdown: float = 1.0,
    noise: Sequence[float] = QUIET,
    commit: str | None = "c0ffee",
    late_s: float = 0.0,
    **changes: object,
) -> Results:
    """Runs of the hybrid plan, a minute apart, from ``late_s`` after the start on."""
    (load,) = changes.setdefault("loads", (Load(),))  # type: ignore[misc]
    runs = tuple(
        sample.run(
            "hybrid",
            repeat,
            sample.measurement(100 / (slowdown * one), 0.5 * slowdown * one),
            load.point,
        ).model_copy(update={"started": sample.STARTED + timedelta(minutes=repeat, seconds=late_s)})
        for repeat, one in enumerate(noise, 1)
    )
    made = sample.blank(runs=runs, repeats=len(runs))
    environment = made.environment.model_copy(update={"git_commit": commit})
    return made.model_copy(update={"environment": environment} | changes)


def of_version(version: str, made: Results) -> Results:
    """The same, measured by another version of hetctl."""
    environment = made.environment
    versions = environment.versions.model_copy(update={"hetctl": version})
    return made.model_copy(
        update={"environment": environment.model_copy(update={"versions": versions})}
    )


def disturbed(made: Results, *repeats: int, kind: str = "foreign load") -> Results:
    """The same, with a mark on these runs."""
    mark = Mark(kind=kind, text=f"it was {kind}")  # type: ignore[arg-type]
    digest = sample.telemetry(marks=(mark,))
    runs = tuple(
        run.model_copy(update={"telemetry_digest": digest}) if run.repeat in repeats else run
        for run in made.runs
    )
    return made.model_copy(update={"runs": runs})


def measured(*args: object, **kwargs: object) -> Measured:
    return choose_configuration(results(*args, **kwargs), None, "somewhere")  # type: ignore[arg-type]


def report(slowdown: float = 1.1, noise: Sequence[float] = QUIET) -> GateReport:
    """What the gate says at its defaults of a current version that is so much slower."""
    return gate(
        measured(),
        measured(slowdown, noise, "badcafe", late_s=30),
        default_thresholds(Load()),
        sources=("base", "current"),
    )
