"""Predictions of placements, corrected by past runs of the same strategy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hetctl.machine import Machine
from hetctl.plan import Correction, Metric, Prediction
from hetctl.planner.evidence import (
    LEAST_RUNS,
    Evidence,
    Subject,
    away_share,
    corrections,
    counts,
    family_of,
    rates_digest,
    same_model_of_it,
    same_thing,
)
from hetctl.planner.placement import Placement, Placer
from hetctl.planner.ranks import rank_plans
from hetctl.planner.strategy import Candidate
from hetctl.run_record import RunRecord
from hetctl.workload import Workload

# Less than this is what a reader takes for exact.
_EXACT = 0.005


@dataclass(frozen=True, slots=True)
class Corrector:
    """Applies what is known of past runs on a machine to placements on it."""

    evidence: Evidence
    machine: Machine
    placer: Placer

    def corrected(self, placement: Placement) -> Placement:
        """``placement`` with its prediction, and what it is chosen by, corrected.

        The objective is a time per output token, so the factor of the throughput is its own; an
        objective of a request alone is corrected by runs of requests alone.
        """
        if not self.evidence.records:
            return placement
        found = self._corrections(placement, self.placer.workload)
        if not found:
            return placement
        goal_load = self.placer.goal.load(self.placer.workload)
        factor = _factors(self._corrections(placement, goal_load)).get("throughput", 1.0)
        return replace(
            placement,
            prediction=with_corrections(placement.prediction, found),
            objective_s=placement.objective_s / factor,
        )

    def sentences(self, placement: Placement, others: Sequence[Candidate]) -> Iterator[str]:
        """What is known of past runs of a placement, and of its rivals, for people."""
        if not self.evidence.records:
            return
        if found := placement.prediction.corrections:
            yield said(found, self.evidence.applied)
        yield from self._rivals(bool(found), others)
        subject = self._subject(placement, self.placer.workload)
        past = [one for one in self.evidence.records if same_thing(one, subject)]
        outdated = sum(not same_model_of_it(one, subject) for one in past)
        if outdated:
            yield (
                f"{_runs(outdated)} of it here {_were(outdated)} predicted by another cost "
                f"model or with other rates, and {_do(outdated)} not count."
            )
        yield from memory_sentence([one for one in past if one.ranks])

    def _rivals(self, has_run: bool, others: Sequence[Candidate]) -> Iterator[str]:
        """Which of the other strategies have run, where that is not the same for all."""
        rivals = [one for one in others if one.placement is not None]
        throughput = {
            one.name: _factors(one.placement.prediction.corrections).get("throughput")
            for one in rivals
            if one.placement is not None
        }
        seen = {name: factor for name, factor in throughput.items() if factor is not None}
        if has_run and len(seen) < len(throughput):
            names = ", ".join(name for name in throughput if name not in seen)
            yield f"Not run here under such a load: {names} (`hetctl bench --compare` does it)."
        made = {name: factor for name, factor in seen.items() if factor != 1}
        if made:
            factors = ", ".join(f"{name} x {factor:.2f}" for name, factor in made.items())
            yield f"Throughputs of other strategies are corrected, too: {factors}."

    def _corrections(self, placement: Placement, workload: Workload) -> tuple[Correction, ...]:
        subject = self._subject(placement, workload)
        evidence = self.evidence
        return corrections(
            [one for one in evidence.records if counts(one, subject)],
            evidence.applied,
        )

    def _subject(self, placement: Placement, workload: Workload) -> Subject:
        spec = self.placer.spec
        return Subject(
            family=family_of(spec),
            parameters=spec.parameters,
            strategy=placement.strategy,
            devices=tuple(stage.device.name for stage in placement.stages),
            away_share=away_share(rank_plans(placement)),
            rates_digest=rates_digest(self.machine),
            workload=workload,
        )


def with_corrections(prediction: Prediction, found: tuple[Correction, ...]) -> Prediction:
    """A prediction of the cost model alone, with factors applied."""
    factor = _factors(found)
    return prediction.model_copy(
        update={
            "ttft_s": prediction.ttft_s * factor.get("ttft", 1.0),
            "tpot_s": prediction.tpot_s * factor.get("tpot", 1.0),
            "output_tokens_per_s": prediction.output_tokens_per_s * factor.get("throughput", 1.0),
            "corrections": found,
        }
    )


def _factors(found: tuple[Correction, ...]) -> dict[Metric, float]:
    return {correction.metric: correction.factor for correction in found}


def said(found: tuple[Correction, ...], applied: bool) -> str:
    """``3 runs here: TPOT was predicted 8% too low, ...; corrected by factors of ...``."""
    names: dict[Metric, str] = {"ttft": "TTFT", "tpot": "TPOT", "throughput": "throughput"}
    runs = max(correction.runs for correction in found)
    sessions = max(correction.sessions for correction in found)
    errors = ", ".join(f"{names[one.metric]} {_off(one.error)}" for one in found)
    when = f" on {sessions} occasions" if sessions > 1 else ""
    text = f"{_runs(runs)} here under such a load{when}: {errors}"
    if not applied:
        return f"{text}; not corrected, as asked for."
    if runs < LEAST_RUNS:
        return f"{text}; a correction needs {LEAST_RUNS} runs."
    factors = ", ".join(f"{names[one.metric]} x {one.factor:.2f}" for one in found)
    return f"{text}; corrected: {factors}."


def _off(error: float) -> str:
    if abs(error) < _EXACT:
        return "was predicted exactly"
    return f"was predicted {abs(error):.0%} too {'high' if error > 0 else 'low'}"


def memory_sentence(records: list[RunRecord]) -> Iterator[str]:
    """Said where a rank took more memory than was planned: that may end in a failed start."""
    short = [
        (use.error, use.device, one.started)
        for one in records
        for use in one.ranks
        if use.error < -_EXACT
    ]
    if short:
        error, device, started = min(short)
        yield (
            f"On {started:%Y-%m-%d} the rank on {device} took {-error / (1 + error):.0%} more "
            f"memory than planned."
        )


def _runs(count: int) -> str:
    return f"{count} run{'s' if count != 1 else ''}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _do(count: int) -> str:
    return "does" if count == 1 else "do"
