"""What past runs on a machine say about predictions, and how far to believe them.

Everything is about the ratio r = measured / predicted of the cost model alone, in logarithms,
so that twice and half weigh the same. A run counts for a prediction where both come from the
same model of the same thing (:func:`counts`). From n such runs of k sessions:

* the **median** of log r, each run with the weight 1 / sqrt(runs of its session): a session of
  many runs says more than one of few, but not in proportion, as its runs share the state that
  the machine was in. From three runs on, no single one holds half of the weight, so none moves
  the median beyond the others;
* its **uncertainty**, se^2 = pi/2 x (s^2 / n + d^2 / k): s is the spread of the runs (the
  weighted median of their distances from the median, times 1.4826, which is a standard
  deviation where they are normal), d the spread from day to day that one session cannot show,
  and pi/2 what a median loses against a mean;
* the **factor**, exp(median x t^2 / (t^2 + se^2)): the mean of what to believe where cost models
  are off by t in general and this one was seen to be off by the median, give or take se. t is
  10%, or what the median says of it where that is more: t^2 = max(10%^2, median^2 - se^2), as in
  James and Stein's estimator. A large error that many runs agree on is not held to be chance.

So exact predictions give a factor of exactly 1, three equal runs of one session most of the
error, and many sessions all of it.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hetctl.document import Quantity
from hetctl.machine import Gpu, Machine, NumaNode
from hetctl.model.spec import ModelSpec
from hetctl.plan import Correction, Metric, RankPlan, Strategy
from hetctl.planner.predictor import PREDICTOR_VERSION
from hetctl.run_record import RunRecord
from hetctl.workload import Workload

LEAST_RUNS = 3
"""The fewest whose median one wild run cannot move beyond the others."""

NEAR = 2.0
"""A load, a model or a share of weights that differs by more says nothing."""

# How far off the cost model is in general: the error that its predictions may have.
_MODEL_SPREAD = 0.10
# From day to day: a shared host's memory gave 87 to 96 GB/s.
_DAY_SPREAD = 0.05
# Few runs may lie closer together by chance than runs do: engines repeat to 1 or 2%.
_LEAST_SPREAD = 0.02
_NORMAL_SPREAD_PER_MAD = 1.4826

METRICS: tuple[Metric, ...] = ("ttft", "tpot", "throughput")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The runs that are kept of a machine.

    Attributes:
        applied: Whether predictions are corrected, or past errors only said.
    """

    records: tuple[RunRecord, ...] = ()
    applied: bool = True


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is predicted: a way to run a model under a load."""

    family: str
    parameters: int
    strategy: Strategy
    devices: tuple[str, ...]
    away_share: float
    rates_digest: str
    workload: Workload


def same_thing(record: RunRecord, subject: Subject) -> bool:
    """Whether a run is of the same strategy, devices and kind of model, whatever the load."""
    return (
        not record.unlike_plan
        and record.strategy == subject.strategy
        and record.devices == subject.devices
        and record.family == subject.family
        and _near(record.parameters, subject.parameters)
        and _near(record.away_share, subject.away_share)
    )


def same_model_of_it(record: RunRecord, subject: Subject) -> bool:
    """Whether a run was predicted as ``subject`` is: by this cost model, with the same rates."""
    same_predictor = record.predictor_version == PREDICTOR_VERSION
    return same_predictor and record.rates_digest == subject.rates_digest


def counts(record: RunRecord, subject: Subject) -> bool:
    """Whether a run says something about a prediction.

    What has a name must be the same: strategy, devices in order, architecture, dtype, rates and
    version of the predictor. What is a number must be within a factor of two: parameters, the
    share of weights that no GPU holds, concurrency, and lengths of prompts and answers.
    """
    ran, asked = record.workload, subject.workload
    return (
        same_thing(record, subject)
        and same_model_of_it(record, subject)
        and _near(ran.concurrency, asked.concurrency)
        and _near(ran.input_len, asked.input_len)
        and _near(ran.output_len, asked.output_len)
    )


def _near(a: float, b: float) -> bool:
    return a == b or (min(a, b) > 0 and max(a, b) <= NEAR * min(a, b))


def corrections(records: Sequence[RunRecord], applied: bool = True) -> tuple[Correction, ...]:
    """What the runs, which all count, say about each figure."""
    ratios = [(record.session, record.ratios) for record in records]
    found = []
    for metric in METRICS:
        seen = [(session, ratio[metric]) for session, ratio in ratios if metric in ratio]
        if seen:
            found.append(correction(metric, seen, applied))
    return tuple(found)


def correction(
    metric: Metric, seen: Sequence[tuple[str, float]], applied: bool = True
) -> Correction:
    """What runs say about one figure.

    Args:
        seen: Session, and measured over predicted, of each run; at least one.
        applied: Without it, the error is told and the factor stays 1.
    """
    runs_of = Counter(session for session, _ in seen)
    weights = [1 / math.sqrt(runs_of[session]) for session, _ in seen]
    logs = [math.log(ratio) for _, ratio in seen]
    middle = weighted_median(logs, weights)
    typical = weighted_median([abs(value - middle) for value in logs], weights)
    spread = _NORMAL_SPREAD_PER_MAD * typical
    doubt = (
        math.pi / 2 * (max(spread, _LEAST_SPREAD) ** 2 / len(seen) + _DAY_SPREAD**2 / len(runs_of))
    )
    general = max(_MODEL_SPREAD**2, middle**2 - doubt)
    believed = general / (general + doubt)
    enough = applied and len(seen) >= LEAST_RUNS
    return Correction(
        metric=metric,
        runs=len(seen),
        sessions=len(runs_of),
        error=math.expm1(-middle),
        spread=math.expm1(spread),
        factor=math.exp(middle * believed) if enough else 1.0,
    )


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """The value with half of the weight on either side; between two, their mean."""
    half = sum(weights) / 2
    below = 0.0
    ordered = sorted(zip(values, weights, strict=True))
    for i, (value, weight) in enumerate(ordered):
        below += weight
        if math.isclose(below, half) and i + 1 < len(ordered):
            return (value + ordered[i + 1][0]) / 2
        if below >= half:
            return value
    raise ValueError("no values")


def family_of(spec: ModelSpec) -> str:
    """``LlamaForCausalLM bfloat16 16 bits``: models that the cost model errs on alike."""
    bits = round(8 * spec.weight_bytes / spec.parameters)
    return f"{spec.architecture} {spec.dtype} {bits} bits"


def away_share(ranks: Sequence[RankPlan]) -> float:
    """Share of the weights that no GPU holds: on CPU ranks, or streamed from host memory."""
    on_cpu = sum(rank.weight_bytes for rank in ranks if rank.device == "cpu")
    streamed = sum(rank.host_weight_bytes for rank in ranks)
    held = sum(rank.weight_bytes for rank in ranks) + streamed
    return (on_cpu + streamed) / held if held else 0.0


def rates_digest(machine: Machine) -> str:
    """Twelve digits that are equal for machines of equal rates."""
    parts: list[Gpu | NumaNode] = [*machine.gpus, *machine.numa_nodes]
    figures = {
        f"{i} {name}": [(reading.where, reading.value) for reading in quantity.each()]
        for i, part in enumerate(parts)
        for name, quantity in _quantities(part)
    }
    return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()[:12]


def _quantities(part: Gpu | NumaNode) -> Iterator[tuple[str, Quantity]]:
    """Every figure by its field, each row or size of a table for itself."""
    for name in type(part).model_fields:
        value = getattr(part, name)
        for key, one in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(one, Quantity):
                yield f"{name} {key}", one
