"""More runs for results that are there: how two versions of a program take turns."""

from collections.abc import Iterator

from hetctl.bench.circumstances import circumstances, other_program
from hetctl.bench.results import Configuration, Results
from hetctl.errors import UsageError


def with_more_runs(before: Results, more: Results, source: str) -> Results:
    """``before``, with ``more.repeats`` further runs of each configuration to come.

    Args:
        more: results without runs, as a new benchmark would start with.
        source: where ``before`` was read from, to be named in errors.

    Raises:
        UsageError: the runs would not be of the same thing, or one of ``before`` failed.
    """
    if before.failed:
        failure = before.failed[0]
        raise UsageError(
            f"{source} holds a failed run ({failure.configuration}, run {failure.repeat}), so no "
            "runs are added to it; start a new folder."
        )
    if found := list(changes(before, more, source)):
        raise UsageError(
            f"Runs can be added to {source} only under the same circumstances, but "
            f"{'; '.join(found)}."
        )
    return before.model_copy(
        update={
            # Their port is free now; that of the earlier runs need not be.
            "configurations": more.configurations,
            "skipped": more.skipped,
            "repeats": max((run.repeat for run in before.runs), default=0) + more.repeats,
            "interrupted": False,
        }
    )


def changes(before: Results, more: Results, source: str) -> Iterator[str]:
    """What makes ``more`` a measurement of something else than ``before``, one sentence each."""
    names = (source, "this run")
    yield from (difference.text for difference in circumstances(before, more, names))
    if program := other_program(before, more, names):
        yield program
    commits = before.environment.git_commit, more.environment.git_commit
    if commits[0] != commits[1]:
        yield f"the commit is {commits[0]} in {names[0]} and {commits[1]} in {names[1]}"
    configurations = _described(before), _described(more)
    if configurations[0] != configurations[1]:
        yield (
            f"what is measured is {configurations[0]} in {names[0]} and {configurations[1]} in "
            f"{names[1]}"
        )


def _described(results: Results) -> str:
    return ", ".join(map(_description, results.configurations))


def _description(configuration: Configuration) -> str:
    if configuration.outside is not None:
        return f"{configuration.name} ({configuration.outside.url or configuration.outside.file})"
    if configuration.plan is None:
        return configuration.name
    split = "+".join(map(str, configuration.plan.split))
    return f"{configuration.name} ({split} layers on {' + '.join(configuration.plan.devices)})"
