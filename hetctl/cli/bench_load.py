"""The options of ``hetctl bench`` that say what is sent, and the loads they describe."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from hetctl.errors import UsageError

if TYPE_CHECKING:
    from hetctl.bench.results import Load, Slo
    from hetctl.bench.workloads import BenchWorkload
    from hetctl.model.spec import ModelSpec

_LOAD = "Load"
DEFAULT_CONCURRENCY = 8

WorkloadName = Annotated[
    str,
    typer.Option(
        "--workload",
        metavar="NAME",
        help="random, vllm-hybrid, chat, long-prompt, long-output or shared-prefix.",
        rich_help_panel=_LOAD,
    ),
]
Concurrencies = Annotated[
    str | None,
    typer.Option(
        "--concurrency",
        metavar="N,N,...",
        help="Requests at a time, one number or a sweep such as 1,2,4,8 "
        f"[default: {DEFAULT_CONCURRENCY}; with --request-rate: no limit].",
        rich_help_panel=_LOAD,
    ),
]
RequestRates = Annotated[
    str | None,
    typer.Option(
        "--request-rate",
        metavar="R,R,...",
        help="Requests per second, one number or a sweep; without it, as fast as they are "
        "answered.",
        rich_help_panel=_LOAD,
    ),
]
Burstiness = Annotated[
    float,
    typer.Option(
        "--burstiness",
        metavar="X",
        help="Of --request-rate: 1 is a Poisson process, less is burstier.",
        rich_help_panel=_LOAD,
    ),
]
InputLen = Annotated[
    int | None,
    typer.Option(
        "--input-len",
        min=1,
        metavar="TOKENS",
        help="Prompt length [default: the workload's].",
        rich_help_panel=_LOAD,
    ),
]
OutputLen = Annotated[
    int | None,
    typer.Option(
        "--output-len",
        min=1,
        metavar="TOKENS",
        help="Answer length [default: the workload's].",
        rich_help_panel=_LOAD,
    ),
]
NumPrompts = Annotated[
    int | None,
    typer.Option(
        "--num-prompts",
        min=1,
        metavar="N",
        help="Requests per run [default: the workload's, or 4 per concurrent request, or 30 s "
        "of --request-rate].",
        rich_help_panel=_LOAD,
    ),
]
Warmups = Annotated[
    int | None,
    typer.Option(
        "--warmups",
        min=0,
        metavar="N",
        help="Requests before the clock starts [default: as many as run at a time, at least 2].",
        rich_help_panel=_LOAD,
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, metavar="N", help="Seed of the prompts.", rich_help_panel=_LOAD),
]
E2el = Annotated[
    str | None,
    typer.Option(
        "--e2el",
        metavar="TIME",
        help="Most time for a whole request; with --ttft and --tpot, what counts for goodput.",
        rich_help_panel=_LOAD,
    ),
]


@dataclass(frozen=True)
class LoadOptions:
    """What was asked for, as given."""

    workload: str
    concurrency: str | None
    request_rate: str | None
    burstiness: float
    input_len: int | None
    output_len: int | None
    num_prompts: int | None
    warmups: int | None
    seed: int
    ttft: str | None
    tpot: str | None
    e2el: str | None

    def loads(self) -> "tuple[BenchWorkload, tuple[Load, ...]]":
        """The workload, and one load per point, from light to heavy.

        Raises:
            UsageError: an option is wrong.
        """
        from hetctl.bench.workloads import Sampling, find_workload, loads

        if not 0 < self.burstiness < math.inf:
            raise UsageError(f"--burstiness must be a positive number, not {self.burstiness:g}.")
        workload = find_workload(self.workload, self.input_len, self.output_len)
        sampling = Sampling(self.num_prompts, self.warmups, self.seed, self.burstiness, self._slo())
        return workload, loads(workload, *self._points(), sampling)

    def _points(self) -> tuple[tuple[int | None, ...], tuple[float | None, ...]]:
        rates = None if self.request_rate is None else parse_rates(self.request_rate)
        caps = None if self.concurrency is None else parse_concurrencies(self.concurrency)
        if rates is None:
            return caps or (DEFAULT_CONCURRENCY,), (None,)
        if caps is not None and len(caps) > 1 and len(rates) > 1:
            raise UsageError(
                f"--concurrency {self.concurrency} and --request-rate {self.request_rate} are two "
                "sweeps; give one of them a single number."
            )
        return caps or (None,), rates

    def _slo(self) -> "Slo":
        from hetctl.bench.results import Slo
        from hetctl.units import parse_duration

        limits = {"ttft_s": self.ttft, "tpot_s": self.tpot, "e2el_s": self.e2el}
        parsed = {name: parse_duration(text) for name, text in limits.items() if text is not None}
        for name, limit_s in parsed.items():
            if limit_s <= 0:
                raise UsageError(f"--{name[:-2]} {limits[name]} must be more than 0.")
        return Slo(**parsed)


def parse_concurrencies(text: str) -> tuple[int, ...]:
    """Numbers of requests at a time, rising and each once.

    Raises:
        UsageError: one is not a whole number of at least 1.
    """
    try:
        found = {int(part) for part in text.split(",")}
    except ValueError:
        found = {0}
    if min(found) < 1:
        raise UsageError(
            f"--concurrency {text!r} is not one or more whole numbers of at least 1, such as "
            "1,2,4,8."
        )
    return tuple(sorted(found))


def parse_rates(text: str) -> tuple[float, ...]:
    """Requests per second, rising and each once.

    Raises:
        UsageError: one is not a positive number.
    """
    try:
        found = {float(part) for part in text.split(",")}
    except ValueError:
        found = {0.0}
    if not all(0 < rate < math.inf for rate in found):
        raise UsageError(
            f"--request-rate {text!r} is not one or more positive numbers, such as 0.5,1,2."
        )
    return tuple(sorted(found))


def context_for(loads: "tuple[Load, ...]", spec: "ModelSpec", asked: int | None) -> int:
    """The context to serve, in tokens: what was asked for, or else what the requests need.

    The generator makes text of random tokens, and a tokenizer may cut the same text into some
    tokens more, so there is room for that where the model allows.

    Raises:
        UsageError: the longest request is longer than that, or than the model's context.
    """
    from hetctl.bench.workloads import longest_request

    longest = max(map(longest_request, loads))
    limit = asked or spec.max_model_len
    if longest > limit:
        load = max(loads, key=longest_request)
        holds = f"--max-model-len is {asked:,}" if asked else f"{spec.name} holds {limit:,}"
        shorten = (
            "take --workload random with a shorter --input-len"
            if load.dataset == "custom"
            else "lower --input-len or --output-len"
        )
        raise UsageError(
            f"The workload {load.workload} has requests of {longest:,} tokens, prompt and answer "
            f"together, and {holds}; {shorten}."
        )
    if asked is not None:
        return asked
    return min(longest + max(64, longest // 8), spec.max_model_len)
