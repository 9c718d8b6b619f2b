"""Whether two sets of runs did the same work in the same circumstances."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

from hetctl.bench.circumstances import Aspect, Difference, circumstances, difference
from hetctl.bench.results import Configuration, Load, Results, Run
from hetctl.bench.schedule import offered
from hetctl.errors import UsageError

ASPECTS: tuple[Aspect, ...] = get_args(Aspect)
NAMES = ("BASE", "CURRENT")


@dataclass(frozen=True)
class Measured:
    """One configuration of a set of results."""

    results: Results
    configuration: Configuration

    @property
    def runs(self) -> tuple[Run, ...]:
        """In the order they ran."""
        return self.results.runs_of(self.configuration.name)


def parse_aspects(texts: Iterable[str]) -> frozenset[Aspect]:
    """Aspects given as ``versions,hardware``, in one or several pieces.

    Raises:
        UsageError: one is not an aspect.
    """
    names = {name.strip() for text in texts for name in text.split(",") if name.strip()}
    if unknown := names - set(ASPECTS):
        raise UsageError(
            f"--allow does not know {', '.join(sorted(unknown))}; what may differ is "
            f"{', '.join(ASPECTS)}."
        )
    return frozenset(aspect for aspect in ASPECTS if aspect in names)


def differences(base: Measured, current: Measured) -> tuple[Difference, ...]:
    """Every reason not to compare the two."""
    return (
        *circumstances(base.results, current.results, NAMES),
        *_plans(base.configuration, current.configuration),
        *_tokens(base, current),
        *_failures("BASE", base),
        *_failures("CURRENT", current),
    )


def refuse(found: Iterable[Difference], allowed: Collection[Aspect]) -> None:
    """Raise UsageError with every difference that is not allowed."""
    refused = [one for one in found if one.aspect not in allowed]
    if refused:
        lines = "\n".join(f"  {one.aspect}: {one.text}" for one in refused)
        aspects = ",".join(dict.fromkeys(one.aspect for one in refused))
        raise UsageError(
            f"BASE and CURRENT cannot be compared:\n{lines}\n"
            f"If they may differ in this, say --allow {aspects}."
        )


def _plans(base: Configuration, current: Configuration) -> Iterator[Difference]:
    """The same model means the same weights in the same type."""
    if base.plan is None or current.plan is None:
        return
    for field in ("model_parameters", "dtype"):
        one, other = getattr(base.plan, field), getattr(current.plan, field)
        if one != other:
            yield difference("model", field, (one, other), NAMES)


def _tokens(base: Measured, current: Measured) -> Iterator[Difference]:
    """Runs that were sent the same must have the same totals. Those with failed requests lack
    tokens, too, and are reported as failures."""
    for field in ("input_tokens", "output_tokens"):
        by_load: dict[Load, tuple[set[int], set[int]]] = {}
        for at, side in enumerate((base, current)):
            for run in side.runs:
                if not run.measurement.failed:
                    sent = offered(side.results, run.point, run.repeat)
                    totals = by_load.setdefault(sent, (set(), set()))
                    totals[at].add(getattr(run.measurement, field))
        for ours, theirs in by_load.values():
            if len(ours | theirs) > 1:
                values = _either(ours), _either(theirs)
                yield difference("tokens", f"the total of {field}", values, NAMES)


def _either(totals: set[int]) -> str:
    return " or ".join(f"{total:,}" for total in sorted(totals)) or "unknown"


def _failures(side: str, measured: Measured) -> Iterator[Difference]:
    for run in measured.runs:
        if failed := run.measurement.failed:
            total = failed + run.measurement.completed
            why = f" ({run.measurement.errors[0]})" if run.measurement.errors else ""
            yield Difference(
                "failures", f"{failed} of {total} requests failed in {side}, run {run.repeat}{why}"
            )
    for failure in measured.results.failed:
        if failure.configuration == measured.configuration.name:
            yield Difference(
                "failures",
                f"run {failure.repeat} of {side} failed ({failure.phase}): {failure.reason}",
            )
