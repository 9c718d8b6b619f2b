"""The forward passes that a load is made of.

A closed loop of C requests of P prompt and O answer tokens is planned as if the requests
were spread evenly over time: most steps decode one token of each, and each prompt rides
along in steps that decode the C - 1 others (vLLM's chunked prefill), so that it pays for
what it adds to them and not for reading the weights once more::

    one request = chunks x mixed + (O - 1) x decode + (C - 1) x chunks x (mixed - background)

where ``mixed`` is one of the ``chunks`` steps that hold a prompt, ``decode`` is a step of C
sequences, and the last term is what the other requests' prompts add while it decodes: their
mixed steps less the steps of C - 1 sequences that would have run anyway. From that follow

    TTFT = chunks x mixed,  TPOT = decode + (C - 1) x chunks x (mixed - background) / (O - 1),
    tokens per second = C x O / one request.

The others' (C - 1) x chunks mixed steps need steps to ride along with. Where a request decodes
for fewer (long prompts, short answers), only O - 1 of them ride along, and a prompt waits for the
rest before its own turn comes: they add whole mixed steps to TTFT. One prompt then follows the
other, and (O - 1) / chunks of the others decode at a time.

That is one batch at a time, whose time is the sum of the stages';
:mod:`hetctl.planner.load_time` has what stages gain by working at the same time.
"""

from dataclasses import dataclass
from math import ceil

from hetctl.workload import Workload

# Scheduling, sampling and detokenising, between the steps: 5.1, 6.5, 9.1 ms per step at 1, 8, 64
# sequences of an 8B model on an H200, less what the GPU does.
_STEP_OVERHEAD_S = 0.7e-3
_STEP_OVERHEAD_PER_SEQUENCE_S = 30e-6


@dataclass(frozen=True, slots=True)
class Step:
    """One forward pass over a batch of decoding sequences and a part of a prompt."""

    decoding: int
    """Sequences that get one token each."""
    decode_context: float
    """Tokens that each of them looks back on, on average."""
    prompt_tokens: int = 0
    prompt_context: float = 0.0
    """Tokens that a prompt token looks back on, itself included, on average over the prompt: of
    n tokens (n + 1) / 2, as masks are causal."""

    @property
    def rows(self) -> int:
        """Tokens of the batch: the rows that share the weights."""
        return self.decoding + self.prompt_tokens

    @property
    def sampled(self) -> int:
        """Rows that the output head sees."""
        return self.decoding + (self.prompt_tokens > 0)

    @property
    def engine_s(self) -> float:
        """The engine's own time around the step, on no rank's account."""
        if not self.rows:
            return 0.0
        return _STEP_OVERHEAD_S + self.sampled * _STEP_OVERHEAD_PER_SEQUENCE_S


@dataclass(frozen=True, slots=True)
class Steps:
    """The kinds of steps of a load, and how they add up where there is one batch at a time.

    Attributes:
        decode: Of a batch of requests that decode; with several batches in flight, of one of them.
        mixed: The same with a chunk of a prompt, whole.
        part: The same with one batch's part of it.
        background: Without it.
        chunks: That one prompt comes in.
        batches: In flight, that the requests which decode are divided into.
    """

    decode: Step
    mixed: Step
    part: Step
    background: Step
    chunks: int
    concurrency: int
    output_len: int
    batches: int = 1

    @classmethod
    def of(
        cls, workload: Workload, max_num_batched_tokens: int, chunks: int = 1, batches: int = 1
    ) -> "Steps":
        """Steps under ``workload`` where a batch holds so many tokens.

        Args:
            chunks: That a prompt is divided into at least.
        """
        context = workload.input_len + workload.output_len / 2
        # Decoding sequences are scheduled first; a prompt gets what they leave.
        first = ceil(_decoding(workload, 1) / batches)
        room = batches * max(1, max_num_batched_tokens - first)
        chunks = max(ceil(workload.input_len / room), min(chunks, workload.input_len))
        others = _decoding(workload, chunks)
        background = Step(ceil(others / batches), context)
        tokens = ceil(workload.input_len / chunks)

        def with_prompt(tokens: int) -> Step:
            # Each prompt token sees half of the prompt on average (causal mask).
            return Step(background.decoding, context, tokens, (workload.input_len + 1) / 2)

        return cls(
            decode=Step(ceil((others + 1) / batches), context),
            mixed=with_prompt(tokens),
            part=with_prompt(ceil(tokens / batches)),
            background=background,
            chunks=chunks,
            concurrency=workload.concurrency,
            output_len=workload.output_len,
            batches=batches,
        )

    @property
    def later(self) -> int:
        """Tokens of a request after its first."""
        return self.output_len - 1

    @property
    def riding(self) -> int:
        """Mixed steps of other prompts that a request decodes in."""
        return min((self.concurrency - 1) * self.chunks, self.later)

    @property
    def waiting(self) -> int:
        """Mixed steps of other prompts that a prompt waits for."""
        return (self.concurrency - 1) * self.chunks - self.riding

    def prefill_s(self, mixed_s: float) -> float:
        """In the steps that hold one prompt, from the time of one mixed step."""
        return self.chunks * mixed_s

    def ttft_s(self, mixed_s: float) -> float:
        """To the first token, from the time of one mixed step."""
        return (self.chunks + self.waiting) * mixed_s

    def tpot_s(self, decode_s: float, mixed_s: float, background_s: float) -> float:
        """Between tokens, from the times of one step of each kind."""
        if not self.later:
            return decode_s
        return decode_s + self.riding / self.later * (mixed_s - background_s)

    def per_token_s(self, decode_s: float, mixed_s: float, background_s: float) -> float:
        """Time of one request by its tokens: ``concurrency`` over this is the throughput."""
        later = self.later * self.tpot_s(decode_s, mixed_s, background_s)
        return (self.ttft_s(mixed_s) + later) / self.output_len


def _decoding(workload: Workload, chunks: int) -> int:
    """Sequences that decode beside a prompt that comes in so many chunks.

    Where prompts wait for their turn, one follows the other, and as many decode as were done with
    theirs while an answer lasts.
    """
    return min(workload.concurrency - 1, (workload.output_len - 1) // chunks)
