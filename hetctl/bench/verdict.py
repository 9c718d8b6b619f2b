"""Who wins, by how much, under which load: the first thing a reader wants to know."""

from dataclasses import dataclass
from typing import Literal

from hetctl.bench.metrics import LATENCIES, OUTPUT_THROUGHPUT, format_number
from hetctl.bench.results import Load, Results
from hetctl.bench.summary import (
    ConfigurationSummary,
    Summary,
    describe_interval,
    ratio_interval,
    resolved,
    summarise,
)
from hetctl.units import format_duration

SAME_WITHIN = 0.02
"""Ratios closer to 1 than this are called equal: servers differ by as much run to run."""

Outcome = Literal["win", "loss", "even", "single"]


@dataclass(frozen=True)
class Verdict:
    """The comparison in two sentences."""

    outcome: Outcome
    """Of the plan against the fastest baseline; ``single`` when there is no such pair."""
    headline: str
    detail: str


def judge(results: Results) -> Verdict:
    """Compare the plan with the fastest baseline by output tokens per second."""
    summary = summarise(results)
    plan, reference = summary.plan, summary.reference
    if not summary.measured:
        return Verdict("single", "Nothing was measured.", describe_load(results.offered_load))
    if plan is None or reference is None:
        one = plan or summary.measured[0]
        rate = format_number(one.value(OUTPUT_THROUGHPUT).mean)
        headline = f"{one.name}: {rate} output tokens/s, with nothing to compare it to."
        return Verdict("single", headline, _sentence(results.offered_load))
    ratio = summary.speedup(plan, OUTPUT_THROUGHPUT) or 0.0
    outcome = outcome_of(ratio)
    first, second = (reference, plan) if outcome == "loss" else (plan, reference)
    factor = 1 / ratio if ratio and outcome == "loss" else ratio
    headline = f"{first.name} is {factor:.2f}x as fast as {second.name}"
    if outcome == "even":
        headline = f"{plan.name} and {reference.name} are equally fast"
    detail = f"{_sentence(results.offered_load)} {_latency_sentence(summary, plan, reference)}"
    headline += f", by output tokens/s{_interval(first, second)}{_doubt(plan, reference)}."
    return Verdict(outcome, headline, detail)


def outcome_of(speedup: float) -> Literal["win", "loss", "even"]:
    """Better, worse, or the same within :data:`SAME_WITHIN`."""
    if abs(speedup - 1) <= SAME_WITHIN:
        return "even"
    return "win" if speedup > 1 else "loss"


def describe_load(load: Load) -> str:
    """``32 requests of 512 + 128 tokens, 8 at a time``."""
    about = "about " if load.dataset == "custom" else ""
    shared = f" ({load.prefix_len} shared)" if load.prefix_len else ""
    return (
        f"{load.num_prompts} requests of {about}{load.input_len}{shared} + {load.output_len} "
        f"tokens, {describe_point(load)}"
    )


def describe_point(load: Load) -> str:
    """``8 at a time``, ``2.5 per second``, or both."""
    cap = f"{load.max_concurrency} at a time" if load.max_concurrency else ""
    rate = f"{load.request_rate:g} per second" if load.request_rate else ""
    return ", ".join(part for part in (cap, rate) if part) or "all at once"


def _sentence(load: Load) -> str:
    return f"Load: {describe_load(load)}."


def _interval(one: ConfigurationSummary, other: ConfigurationSummary) -> str:
    found = ratio_interval(one.value(OUTPUT_THROUGHPUT), other.value(OUTPUT_THROUGHPUT))
    return f" (95% interval: {describe_interval(found)})" if found else ""


def _doubt(plan: ConfigurationSummary, reference: ConfigurationSummary) -> str:
    difference = resolved(plan.value(OUTPUT_THROUGHPUT), reference.value(OUTPUT_THROUGHPUT))
    return ", but the difference is within the noise of the repeats" if difference is False else ""


def _latency_sentence(
    summary: Summary, plan: ConfigurationSummary, reference: ConfigurationSummary
) -> str:
    ttft = LATENCIES["ttft"][1]["p50"]
    tpot = LATENCIES["tpot"][1]["p50"]
    pairs = [
        f"{title} {format_duration(plan.value(metric).mean)} against "
        f"{format_duration(reference.value(metric).mean)}"
        for title, metric in (("first token after", ttft), ("then a token every", tpot))
    ]
    return f"Median {', '.join(pairs)}."
