"""Requests whose lengths are spread like those of people who talk to an assistant.

Lengths are drawn from two log-normal distributions, cut to the range that vLLM's own ShareGPT
dataset keeps. Their means, 160 and 342 tokens, are those of ShareGPT in the paper on vLLM (Kwon et
al., SOSP 2023, arXiv 2309.06180, legend of figure 11: 161.31 in, 337.99 out). The paper prints no
spread; ours (sigma 1.0 and 0.9) is a choice, which puts one prompt in ten above 360 tokens and one
answer in ten above 790. Prompt and answer are drawn independently, which conversations are not
quite. The later collection that ``vllm bench serve`` reads as ``sharegpt`` has longer prompts and
shorter answers: 230 and 203 tokens over 1,000 requests (vLLM's pull request 18566).
"""

import json
import math
import random
from pathlib import Path
from typing import Any

from hetctl.bench.results import Load
from hetctl.document import write_atomically
from hetctl.errors import UsageError

MEAN_INPUT_LEN = 160
MEAN_OUTPUT_LEN = 340
SHORTEST, LONGEST = 4, 1024
"""``is_valid_sequence`` of vLLM's datasets."""

_INPUT_MEDIAN, _INPUT_SIGMA = 100.0, 1.0
_OUTPUT_MEDIAN, _OUTPUT_SIGMA = 250.0, 0.9
# Common words: in most vocabularies each is one token with the space before it.
_WORDS = """
    the of and to in is that for it as was with be by on not he his but at are this have from or
    had an they which one you were all her she there would their we him been has when who will no
    more if out so up said what its about than into them can only other time new some could these
    two may first then do any like my now over such our man me even most made after also did many
    people water place world under where every large between always state never while night house
""".split()  # noqa: SIM905
_ATTEMPTS = 8


def lengths(seed: int, count: int) -> tuple[tuple[int, int], ...]:
    """Prompt and answer of each request, in tokens; more of the same seed begin the same."""
    drawn = random.Random(f"lengths {seed}")
    return tuple(
        (_length(drawn, _INPUT_MEDIAN, _INPUT_SIGMA), _length(drawn, _OUTPUT_MEDIAN, _OUTPUT_SIGMA))
        for _ in range(count)
    )


def write_requests(load: Load, tokenizer_file: Path, path: Path) -> None:
    """Write the load's requests for the generator's ``custom`` dataset.

    Args:
        load: only its seed and number of requests count.
        tokenizer_file: the model's ``tokenizer.json``; prompts are cut to length with it.
        path: one JSON object per line, with ``prompt`` and ``output_tokens``.

    Raises:
        UsageError: the tokenizer cannot be read.
        HetctlError: the file cannot be written.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    # The library raises Exception itself.
    except Exception as error:
        raise UsageError(f"Cannot read the tokenizer {tokenizer_file}: {error}.") from error
    lines = (
        json.dumps(
            {
                "prompt": _prompt(tokenizer, input_len, random.Random(f"{load.seed} {at}")),
                "output_tokens": output_len,
            }
        )
        for at, (input_len, output_len) in enumerate(lengths(load.seed, load.num_prompts))
    )
    write_atomically(path, "\n".join(lines) + "\n")


def _length(drawn: random.Random, median: float, sigma: float) -> int:
    length = round(drawn.lognormvariate(math.log(median), sigma))
    return min(LONGEST, max(SHORTEST, length))


def _prompt(tokenizer: Any, length: int, drawn: random.Random) -> str:
    """Words that the server will count as ``length`` tokens, its special ones included.

    A word that is cut may make a token more or less, so the text is mended a few times; what
    remains is too short by a token at most, never too long.
    """
    text = " ".join(drawn.choices(_WORDS, k=length))
    for _ in range(_ATTEMPTS):
        found = tokenizer.encode(text)
        if len(found.ids) == length:
            return text
        if len(found.ids) < length:
            text += f" {drawn.choice(_WORDS)}"
            continue
        # Special tokens have no place in the text, and their offsets are (0, 0).
        special = sum(found.special_tokens_mask)
        ends = [end for _, end in found.offsets if end]
        text = text[: ends[max(length - special, 1) - 1]]
    while len(tokenizer.encode(text).ids) > length and " " in text:
        text = text.rpartition(" ")[0]
    return text
