"""Who wins at which load: the first thing a reader of a sweep wants to know."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from hetctl.bench.metrics import OUTPUT_THROUGHPUT, format_number
from hetctl.bench.results import Load, Results
from hetctl.bench.summary import ConfigurationSummary, ratio_interval, summarise
from hetctl.bench.verdict import (
    Outcome,
    Verdict,
    describe_load,
    describe_point,
    judge,
    outcome_of,
)


@dataclass(frozen=True)
class Winner:
    """The fastest configuration at one load, by output tokens/s."""

    load: Load
    name: str
    rate: float
    second: str
    """The next fastest; empty where there was no other."""
    ratio: float
    """Times as fast as the second; 1 without one."""
    interval: tuple[float, float] | None
    """95%, of the ratio; None with a single repeat."""

    @property
    def even(self) -> bool:
        """Too close to call another way than equal."""
        return bool(self.second) and outcome_of(self.ratio) == "even"

    @property
    def noisy(self) -> bool:
        """The lead may be noise of the repeats."""
        return self.interval is not None and self.interval[0] <= 1


def winners(results: Results) -> tuple[Winner, ...]:
    """One per load that anything was measured at, in the order of the loads."""
    return tuple(
        _winner(load, measured)
        for load in results.loads
        if (measured := summarise(results.at(load.point)).measured)
    )


def judge_sweep(results: Results) -> Verdict:
    """The verdict over all loads; of a single one, that of :func:`judge`."""
    if len(results.loads) == 1:
        return judge(results)
    found = winners(results)
    if not found:
        return Verdict("single", "Nothing was measured.", _describe(results))
    names = {winner.name for winner in found}
    if not any(winner.second for winner in found):
        best = max(found, key=lambda winner: winner.rate)
        headline = (
            f"{best.name}: up to {format_number(best.rate)} output tokens/s, "
            f"{describe_point(best.load)}, with nothing to compare it to."
        )
        return Verdict("single", headline, _describe(results))
    spans = [(name, list(group)) for name, group in groupby(found, key=lambda w: w.name)]
    parts = [_span(name, group, alone=len(spans) == 1) for name, group in spans]
    plans = {one.name for one in results.configurations if one.role == "plan"}
    # Green where the plan is never behind, amber where a baseline beats it throughout.
    outcome: Outcome = "win" if names <= plans else "loss" if not names & plans else "even"
    if all(winner.even or winner.noisy for winner in found):
        outcome = "even"
    return Verdict(outcome, f"{'; '.join(parts)}.", f"By output tokens/s. {_describe(results)}")


def _winner(load: Load, measured: tuple[ConfigurationSummary, ...]) -> Winner:
    def value(one: ConfigurationSummary) -> float:
        return one.value(OUTPUT_THROUGHPUT).mean

    first, *others = sorted(measured, key=value, reverse=True)
    if not others:
        return Winner(load, first.name, value(first), "", 1.0, None)
    second = others[0]
    values = first.value(OUTPUT_THROUGHPUT), second.value(OUTPUT_THROUGHPUT)
    ratio = values[0].mean / values[1].mean if values[1].mean else 1.0
    return Winner(load, first.name, values[0].mean, second.name, ratio, ratio_interval(*values))


def _span(name: str, group: list[Winner], alone: bool) -> str:
    """``hybrid is fastest at 1 to 16 at a time, 1.10x to 1.45x the next``."""
    ratios = [winner.ratio for winner in group if winner.second]
    if not ratios:
        return f"{name} is alone {_loads(group)}"
    times = f"{min(ratios):.2f}x to {max(ratios):.2f}x" if len(ratios) > 1 else f"{ratios[0]:.2f}x"
    even = all(winner.even for winner in group)
    by = f"as fast as {group[0].second}" if len({w.second for w in group}) == 1 else "the next"
    where = "at every load" if alone else _loads(group)
    if even:
        return f"{name} is ahead {where}, but by no more than {max(ratios) - 1:.0%}"
    doubt = ", which is within the noise of the repeats" if all(w.noisy for w in group) else ""
    return f"{name} is fastest {where}, {times} {by}{doubt}"


def _loads(group: Iterable[Winner]) -> str:
    loads = [winner.load for winner in group]
    first, last = describe_point(loads[0]), describe_point(loads[-1])
    if len(loads) == 1:
        return f"with {first}"
    number, _, unit = first.partition(" ")
    # "from 1 to 8 at a time", where both count the same.
    return f"from {number if last.endswith(f' {unit}') else first} to {last}"


def _describe(results: Results) -> str:
    """The first load in full, and where the others lead."""
    first, last = results.loads[0], results.loads[-1]
    return f"Loads: from {describe_load(first)}, to {describe_point(last)}."
