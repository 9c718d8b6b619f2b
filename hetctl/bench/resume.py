"""Going on with a benchmark that was stopped or killed."""

from collections.abc import Iterator
from itertools import zip_longest

from hetctl.bench.append import changes
from hetctl.bench.results import Environment, Results
from hetctl.errors import UsageError


def resumed(before: Results, asked: Results, source: str) -> Results:
    """``before``, to go on where it ended. What is there is kept; what failed is tried again.

    Args:
        asked: without runs, as the same benchmark would start now.
        source: where ``before`` was read from, to be named in errors.

    Raises:
        UsageError: what is asked for is something else; each difference is named.
    """
    if found := [*changes(before, asked, source), *_plan_of_runs(before, asked, source)]:
        raise UsageError(
            f"{source} can be resumed only as it was begun, but {'; '.join(found)}; begin anew in "
            "another folder."
        )
    return before.model_copy(
        update={
            # Their port is free now; that of the earlier runs need not be.
            "configurations": asked.configurations,
            "failed": (),
            "interrupted": False,
        }
    )


def begun_again(before: Results, environment: Environment, port: int) -> Results:
    """The benchmark that ``before`` is of, as it would start now, on a port that is free."""
    return before.model_copy(
        update={
            "environment": environment,
            "configurations": tuple(
                configuration.model_copy(update={"command": configuration.command.on_port(port)})
                if configuration.command
                else configuration
                for configuration in before.configurations
            ),
            "runs": (),
            "failed": (),
        }
    )


def _plan_of_runs(before: Results, asked: Results, source: str) -> Iterator[str]:
    for field in ("repeats", "stop_when_flat"):
        values = getattr(before, field), getattr(asked, field)
        if values[0] != values[1]:
            yield f"{field} is {values[0]} in {source} and {values[1]} in this run"
    for one, other in zip(before.configurations, asked.configurations, strict=False):
        if one.command is None or other.command is None:
            continue
        # The port may be another; a word that was added shifts all that follow.
        words = one.command.argv, other.command.on_port(one.command.port).argv
        for was, now in zip_longest(*words):
            if was != now:
                yield (
                    f"the command of {one.name} has {was or 'nothing'} in {source} and "
                    f"{now or 'nothing'} in this run"
                )
                break
