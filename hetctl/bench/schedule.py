"""Which runs are left to do, and in which order."""

from dataclasses import dataclass

from hetctl.bench.results import Configuration, Load, Results
from hetctl.bench.saturation import loads_for

_SEEDS_PER_REPEAT = 1000
"""More than there are points, which count their seeds up by one."""


@dataclass(frozen=True)
class Coming:
    """A run that is asked for and not there yet."""

    repeat: int
    configuration: Configuration
    load: Load


def to_come(results: Results) -> tuple[Coming, ...]:
    """What is left, in order: configurations take turns (A B A B), each with all its points.

    A machine that grows warm or busy then disturbs all configurations alike. What failed is
    not tried again: neither the point, nor anything of a configuration whose server did not
    start.
    """
    there = {(run.repeat, run.configuration, run.point) for run in results.runs}
    given_up = {(failure.configuration, failure.point) for failure in results.failed}
    return tuple(
        Coming(repeat, configuration, offered(results, load.point, repeat))
        for repeat in range(1, results.repeats + 1)
        for configuration in results.configurations
        if (configuration.name, None) not in given_up and not _imported(configuration)
        for load in loads_for(results, configuration.name)
        if (repeat, configuration.name, load.point) not in there
        and (configuration.name, load.point) not in given_up
    )


def offered(results: Results, point: str, repeat: int) -> Load:
    """The load of a point as a repeat sends it: each gets prompts of its own where an engine
    from outside takes part, because that one is not restarted and may remember the earlier.
    """
    load = results.load_at(point)
    if repeat == 1 or not any(_outlives_repeats(one) for one in results.configurations):
        return load
    return load.model_copy(update={"seed": load.seed + (repeat - 1) * _SEEDS_PER_REPEAT})


def _outlives_repeats(configuration: Configuration) -> bool:
    return configuration.outside is not None and configuration.outside.url is not None


def _imported(configuration: Configuration) -> bool:
    return configuration.outside is not None and configuration.outside.url is None
