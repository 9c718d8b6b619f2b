"""What is asked of a server, by name: the lengths of prompts and answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from hetctl.bench import chat
from hetctl.bench.results import Load, Slo
from hetctl.errors import UsageError

_PROMPTS_PER_SLOT = 4
"""Prompts for each concurrent request: enough turns to reach a steady state, few enough for a
CPU rank to finish."""
_OPEN_LOOP_S = 30.0
"""How long an open loop sends requests."""
_LEAST_PROMPTS = 8
_LEAST_WARMUPS = 2
_UNCAPPED_WARMUPS = 8
"""Of an open loop without a cap, which nobody knows the concurrency of."""


@dataclass(frozen=True)
class BenchWorkload:
    """Lengths are in tokens; every request generates all of its tokens."""

    name: str
    summary: str
    input_len: int
    output_len: int
    dataset: Literal["random", "prefix_repetition", "custom"] = "random"
    num_prompts: int | None = None
    """None grows with the load."""
    prefix_len: int = 0
    num_prefixes: int = 1

    @property
    def reuses_prefixes(self) -> bool:
        """Whether a prefix cache is what is measured; elsewhere it would answer warm-ups."""
        return self.dataset == "prefix_repetition"

    @property
    def varies(self) -> bool:
        """Whether requests differ in length."""
        return self.dataset == "custom"


WORKLOADS = {
    workload.name: workload
    for workload in (
        BenchWorkload("random", "prompts of 512 random tokens, answers of 128", 512, 128),
        BenchWorkload(
            "vllm-hybrid",
            "500 prompts of 128 random tokens, answers of 128: vLLM Hybrid's own benchmark",
            128,
            128,
            num_prompts=500,
        ),
        BenchWorkload(
            "chat",
            "lengths spread like those of ShareGPT conversations, 160 and 340 on average",
            chat.MEAN_INPUT_LEN,
            chat.MEAN_OUTPUT_LEN,
            dataset="custom",
        ),
        BenchWorkload("long-prompt", "prompts of 4,096 random tokens, answers of 128", 4096, 128),
        BenchWorkload("long-output", "prompts of 128 random tokens, answers of 1,024", 128, 1024),
        BenchWorkload(
            "shared-prefix",
            "prompts of 1,024 tokens, of which 896 are one of four prefixes, answers of 128",
            1024,
            128,
            dataset="prefix_repetition",
            prefix_len=896,
            num_prefixes=4,
        ),
    )
}


def find_workload(
    name: str, input_len: int | None = None, output_len: int | None = None
) -> BenchWorkload:
    """The workload of this name, with other lengths where they are given.

    A shared prefix keeps its share of the prompt.

    Raises:
        UsageError: there is none, or its lengths cannot be chosen.
    """
    workload = WORKLOADS.get(name)
    if workload is None:
        known = ", ".join(WORKLOADS)
        raise UsageError(f"There is no workload {name!r}; --workload takes one of {known}.")
    if input_len is None and output_len is None:
        return workload
    if workload.varies:
        raise UsageError(
            f"The workload {name} draws its lengths, so --input-len and --output-len do not go "
            "with it; use --workload random for lengths of your own."
        )
    prompt = input_len or workload.input_len
    prefix = workload.prefix_len * prompt // workload.input_len
    if workload.reuses_prefixes and not 0 < prefix < prompt:
        raise UsageError(
            f"--input-len {prompt} leaves no room for a shared prefix and a rest; take 2 or more."
        )
    return replace(
        workload,
        input_len=prompt,
        output_len=output_len or workload.output_len,
        prefix_len=prefix,
    )


@dataclass(frozen=True)
class Sampling:
    """How many requests of a workload are sent at a point, and from which seed."""

    num_prompts: int | None = None
    """None is the workload's own number, or one that grows with the load."""
    num_warmups: int | None = None
    """None is one that grows with the load."""
    seed: int = 0
    burstiness: float = 1.0
    slo: Slo = field(default_factory=Slo)


def loads(
    workload: BenchWorkload,
    concurrencies: Iterable[int | None],
    request_rates: Iterable[float | None],
    sampling: Sampling,
) -> tuple[Load, ...]:
    """One load per pair of concurrency and request rate, in the order given.

    Each point has a seed of its own, counted up from the first: what a server keeps of the
    prompts of one point is of no use at the next.

    Raises:
        UsageError: the number of prompts does not suit the workload.
    """
    pairs = [(cap, rate) for cap in concurrencies for rate in request_rates]
    found = []
    for at, (cap, rate) in enumerate(pairs):
        count = sampling.num_prompts or workload.num_prompts or _num_prompts(cap, rate)
        if sampling.num_prompts is None:
            count += -count % workload.num_prefixes
        elif count % workload.num_prefixes:
            raise UsageError(
                f"--num-prompts {count} is not a multiple of the {workload.num_prefixes} prefixes "
                f"of the workload {workload.name}; take {count + -count % workload.num_prefixes}."
            )
        found.append(
            Load(
                workload=workload.name,
                dataset=workload.dataset,
                input_len=workload.input_len,
                output_len=workload.output_len,
                prefix_len=workload.prefix_len,
                num_prefixes=workload.num_prefixes,
                num_prompts=count,
                max_concurrency=cap,
                request_rate=rate,
                burstiness=sampling.burstiness,
                seed=sampling.seed + at,
                num_warmups=_num_warmups(cap)
                if sampling.num_warmups is None
                else sampling.num_warmups,
                slo=sampling.slo,
            )
        )
    return tuple(found)


def longest_request(load: Load) -> int:
    """Tokens of prompt and answer together that one request of the load may take."""
    if load.dataset == "custom":
        return max(sum(lengths) for lengths in chat.lengths(load.seed, load.num_prompts))
    return load.input_len + load.output_len


def asked_output_tokens(load: Load) -> int:
    """What all requests of the load must generate."""
    if load.dataset == "custom":
        return sum(output for _, output in chat.lengths(load.seed, load.num_prompts))
    return load.num_prompts * load.output_len


def _num_prompts(cap: int | None, rate: float | None) -> int:
    if rate is not None:
        return max(_LEAST_PROMPTS, round(rate * _OPEN_LOOP_S))
    return max(_LEAST_PROMPTS, _PROMPTS_PER_SLOT * (cap or 1))


def _num_warmups(cap: int | None) -> int:
    """As many as run at a time: what is made ready for a number of sequences (oneDNN's kernels,
    the scheduler's choice of batches) must not fall into the measured time."""
    return max(_LEAST_WARMUPS, _UNCAPPED_WARMUPS if cap is None else cap)
