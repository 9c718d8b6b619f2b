"""How prompts are divided beside running requests, where the runtime's scheduler decides it.

With a CPU rank in the engine, a step that holds a part of a prompt keeps the running requests
waiting for half a second at most (``docs/runtime/batches.md``): however many tokens a batch may
hold, a prompt comes in as many chunks as that takes, and each chunk reads the weights again. (The
last one may have up to 16 tokens more than that allows, which is not counted.)
"""

from collections.abc import Callable
from math import ceil

# runtime/vllm_hetero/env.py: DEFAULT_MAX_STALL_S; scheduling/prefill_limit.py: LEAST_SHARE and
# SMALLEST_CHUNK.
STALL_S = 0.5
_LEAST_SHARE = 0.25
_SMALLEST_CHUNK = 16


def longest_step_s(stall_s: float, decodes_s: float) -> float:
    """How long a step with a part of a prompt may take.

    Args:
        stall_s: What it is held to.
        decodes_s: Of the same step without the prompt: where that is much of the time or more, a
            prompt still gets a part.
    """
    return max(stall_s, decodes_s + _LEAST_SHARE * stall_s)


def most_chunks(prompt_tokens: int, batches: int) -> int:
    """Those of the smallest size, where ``batches`` in flight have a part of each."""
    return ceil(prompt_tokens / (_SMALLEST_CHUNK * batches))


def fewest_chunks(least: int, most: int, fits: Callable[[int], bool], guess: float) -> int:
    """The fewest chunks of which each keeps to its time; ``most`` where none does.

    Args:
        least: Chunks that the tokens of a batch allow.
        fits: Whether so many chunks keep to it; more do where fewer do.
        guess: About how many it will be.
    """
    low, high = least, max(least, most)
    if low == high or fits(low):
        return low
    middle, step = ceil(min(guess, high)), 1
    while high - low > 1:
        middle = min(max(middle, low + 1), high - 1)
        enough = fits(middle)
        low, high = (low, middle) if enough else (middle, high)
        step = min(2 * step, (high - low) // 2)
        middle = high - step if enough else low + step
    return high
