"""What a load takes on stages that follow one another, from their times in its steps.

vLLM keeps up to as many batches in flight as there are stages. How far they overlap depends on what
is in them (``tests/planner/test_simulated.py`` holds this against vLLM's engine loop):

* Requests that decode are together in one batch, and the stages take turns at it. The scheduler of
  an engine with CPU ranks divides them where that is faster (``docs/runtime/batches.md``)::

      decode step of k batches = max(sum of the stages, k x the longest)

* A prompt is another batch. By itself it adds to the running requests' wait what all stages take
  longer by; where there is always another prompt in flight, what the longest stage does. The share
  of the time that goes into prompts is the share of the time in which there is another one.
* Where nothing decodes, chunks of prompts follow one another at the pace of the longest stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hetctl.planner.steps import Step, Steps


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of each stage in each kind of step; tensor-parallel groups are one stage."""

    decode: Sequence[float]
    mixed: Sequence[float]
    part: Sequence[float]
    background: Sequence[float]


@dataclass(frozen=True, slots=True)
class LoadTime:
    """Seconds."""

    ttft_s: float
    tpot_s: float
    per_token_s: float
    """Of one request, by its tokens: the number of requests over this is the throughput."""
    decode_s: float
    """From one token of a request to the next where no prompt comes between."""


def cycle_s(stages: Sequence[float], step: Step, batches: int = 1) -> float:
    """In which ``batches`` like ``step`` go once through all stages, the engine's part included."""
    if not step.rows:
        return 0.0
    once = sum(stages) + step.engine_s
    return once if batches == 1 else max(once, batches * max(*stages, step.engine_s))


def load_time(steps: Steps, times: StepTimes, overlap: bool) -> LoadTime:
    """What ``steps`` take.

    Args:
        overlap: Prompts go through the stages beside the batch that decodes.
    """
    decode = cycle_s(times.decode, steps.decode, steps.batches)
    background = cycle_s(times.background, steps.background, steps.batches)
    alone = cycle_s(times.mixed, steps.mixed)
    added = alone - cycle_s(times.background, steps.background)
    added_among = added
    if steps.batches > 1:
        divided = cycle_s(times.part, steps.part, steps.batches)
        added_among = max(0.0, divided - background)
    elif overlap:
        longest = max(m - b for m, b in zip(times.mixed, times.background, strict=True))
        added_among = max(0.0, longest) + steps.mixed.engine_s - steps.background.engine_s
    among = _share(steps.riding * added, steps.later * decode)
    adds = (1 - among) * added + among * added_among
    nothing_decodes = not steps.background.rows
    follows = background + (added_among if nothing_decodes else adds)
    ttft = alone + (steps.chunks - 1) * follows + steps.waiting * (background + added_among)
    tpot = decode + (steps.riding / steps.later * adds if steps.later else 0.0)
    return LoadTime(
        ttft_s=ttft,
        tpot_s=tpot,
        per_token_s=(ttft + steps.later * tpot) / steps.output_len,
        decode_s=decode,
    )


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part > 0 else 0.0
