"""What a reader must know before believing the figures."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from hetctl.bench.results import Load, Results, Run
from hetctl.bench.schedule import offered, to_come
from hetctl.bench.workloads import asked_output_tokens

# With fewer requests the 99th percentile is, to the eye, the slowest one.
_REQUESTS_FOR_P99 = 100


@dataclass(frozen=True)
class Finding:
    """One sentence. A ``warning`` puts the comparison in doubt, a ``note`` explains it."""

    level: Literal["warning", "note"]
    text: str


def findings(results: Results) -> tuple[Finding, ...]:
    """Warnings first, then notes."""
    warnings = (
        *(f"Joined with care: {caveat}." for caveat in results.caveats),
        *_interruption(results),
        *(
            f"{failure.configuration} failed{f' at {failure.point}' if failure.point else ''} in "
            f"repeat {failure.repeat} ({failure.phase}) and was not tried again: {failure.reason}"
            for failure in results.failed
        ),
        *_failed_requests(results),
        *(text for load in results.loads for text in _different_tokens(results, load.point)),
        *_short_outputs(results),
        *_disturbed(results),
    )
    notes = (
        *_other_programs(results),
        *_unbound_clients(results),
        *_repeats(results),
        *_tail(results),
    )
    return (
        *(Finding("warning", text) for text in warnings),
        *(Finding("note", text) for text in notes),
    )


def _interruption(results: Results) -> list[str]:
    if not results.interrupted:
        return []
    planned = len(results.runs) + len(results.failed) + len(to_come(results))
    if planned == len(results.runs):
        return ["Interrupted under another load; what was measured until then is shown."]
    return [
        f"Interrupted after {len(results.runs)} of {planned} runs; what was measured until then "
        "is shown."
    ]


def _failed_requests(results: Results) -> list[str]:
    return [
        f"{_label(run)}: {run.measurement.failed} of "
        f"{run.measurement.failed + run.measurement.completed} requests failed"
        + (f" ({run.measurement.errors[0]})" if run.measurement.errors else "")
        + "; its figures cover the others only."
        for run in results.runs
        if run.measurement.failed
    ]


def _different_tokens(results: Results, point: str) -> list[str]:
    """The same requests must mean the same tokens. Runs with failures are flagged already."""
    sentences = []
    for same in _sent_alike(results, point):
        for what in ("input", "output"):
            totals = {_label(run): getattr(run.measurement, f"{what}_tokens") for run in same}
            if len(set(totals.values())) > 1:
                each = ", ".join(f"{label}: {total:,}" for label, total in totals.items())
                sentences.append(
                    f"The {what} tokens differ, so the work was not the same ({each})."
                )
    return sentences


def _sent_here(results: Results) -> tuple[Run, ...]:
    """All runs but imported ones, whose requests are only as long, and not as many."""
    imported = {
        one.name for one in results.configurations if one.outside and one.outside.url is None
    }
    return tuple(run for run in results.runs if run.configuration not in imported)


def _sent_alike(results: Results, point: str) -> list[list[Run]]:
    """Whole runs of a point, put together by the requests that they were sent."""
    alike: dict[Load, list[Run]] = {}
    for run in _sent_here(results.at(point)):
        if not run.measurement.failed:
            alike.setdefault(offered(results, point, run.repeat), []).append(run)
    return list(alike.values())


def _short_outputs(results: Results) -> list[str]:
    return [
        f"{_label(run)} generated {run.measurement.output_tokens:,} tokens, not the {asked:,} that "
        "were asked for."
        for run in _sent_here(results)
        if not run.measurement.failed
        and (asked := asked_output_tokens(offered(results, run.point, run.repeat)))
        != run.measurement.output_tokens
    ]


def _disturbed(results: Results) -> list[str]:
    """One sentence per configuration and kind of disturbance; each run has its marks."""
    sentences = []
    for configuration in results.configurations:
        runs = results.runs_of(configuration.name)
        marks = [
            (run, mark)
            for run in runs
            for mark in (run.telemetry_digest.marks if run.telemetry_digest else ())
        ]
        for kind in dict.fromkeys(mark.kind for _, mark in marks):
            run, mark = next(pair for pair in marks if pair[1].kind == kind)
            others = len({id(run) for run, mark in marks if mark.kind == kind}) - 1
            more = f"; so did {others} more of its {len(runs)} runs" if others else ""
            sentences.append(f"{_label(run)} ran under {kind}: {mark.text}{more}.")
    return sentences


def _other_programs(results: Results) -> list[str]:
    """Of joined folders. What differs between two commits is what they are compared for."""
    versions = {part.folder: part.hetctl_version for part in results.joined if part.hetctl_version}
    if len(set(versions.values())) < 2:
        return []
    each = ", ".join(f"{version} in {folder}" for folder, version in versions.items())
    return [f"Measured by different versions of hetctl: {each}."]


def _unbound_clients(results: Results) -> list[str]:
    """Where clients may take time from threads that compute."""
    names = [
        one.name
        for one in results.configurations
        if one.command is not None
        and one.plan is not None
        and any(rank.cpus for rank in one.plan.ranks)
        and (runs := results.runs_of(one.name))
        and not all(run.client_cpus for run in runs)
    ]
    if not names:
        return []
    return [
        f"The load generator and the API server of {', '.join(names)} had no CPUs of their own "
        "beside the CPU ranks, so they took some time from the threads that compute."
    ]


def _repeats(results: Results) -> list[str]:
    counts = Counter((run.configuration, run.point) for run in results.runs)
    if not counts:
        return []
    if max(counts.values()) == 1:
        return [
            "Each configuration ran once, so there is no confidence interval: a small difference "
            "may be noise. Use --repeats 3 or more to tell."
        ]
    ends = f"{min(counts.values())} to {max(counts.values())}"
    times = ends if min(counts.values()) != max(counts.values()) else str(max(counts.values()))
    return [
        f"Figures are means over {times} interleaved repeats; intervals are 95% "
        "confidence intervals (Student's t)."
    ]


def _tail(results: Results) -> list[str]:
    count = min(load.num_prompts for load in results.loads)
    if count >= _REQUESTS_FOR_P99:
        return []
    return [
        f"With {count} requests per run, p99 of a per-request latency is nearly the slowest "
        "request."
    ]


def _label(run: Run) -> str:
    return f"{run.configuration} at {run.point} (repeat {run.repeat})"
